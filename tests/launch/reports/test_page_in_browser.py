"""A report's page in a real browser: headless Chromium, driven by Selenium."""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from headless_browser import MARKS, started_browser
from written_runs import write_run

from launch.config.search_space import SearchSpace
from launch.config.train import TrainConfig
from launch.config.tune import TuneConfig
from launch.reports.groups import grouped
from launch.reports.page_writer import write_page
from launch.reports.run_data import read_run
from launch.tuning.importance import importances
from launch.tuning.journal import FINISHED, STOPPED, TrialRecord, TrialReport
from launch.tuning.picture import write_picture
from launch.tuning.results import search_result

pytestmark = MARKS


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A page on a run with all that a run can have."""
    folder = tmp_path_factory.mktemp("page")
    more = {"info/is_success": 0.5, "lag_rows/0": 96.0, "lag_rows/1": 32.0, "policy_lag_mean": 0.25}
    run = write_run(folder / "run", 600, more=more, num_faults=3)
    write_page(run.report_file, grouped([read_run(run.path)]))
    return run.report_file.as_uri()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with started_browser("--hide-scrollbars") as driver:
        yield driver


def show(browser: Any, page: str, theme: str, width: int) -> None:
    features = [{"name": "prefers-color-scheme", "value": theme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(page)
    wait_until_drawn(browser)


def wait_until_drawn(browser: Any) -> None:
    deadline = time.monotonic() + 60.0
    while browser.execute_script("return document.documentElement.dataset.drawn") is None:
        assert time.monotonic() < deadline, browser.get_log("browser")
        time.sleep(0.05)


def picture(browser: Any, width: int) -> np.ndarray:
    """The whole page as it looks, uint8 ``[height, width, 3]``."""
    from PIL import Image

    height = browser.execute_script("return document.documentElement.scrollHeight")
    clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
    found = browser.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(found["data"]))).convert("RGB"))


# For each chart: how many pixels are not transparent, and how many colours there are.
PIXELS = """
return [...document.querySelectorAll('[data-chart] canvas')].map(canvas => {
  const data = new Uint32Array(canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.buffer);
  return [data.filter(pixel => pixel !== 0).length, new Set(data).size];
});
"""


@pytest.mark.parametrize(("theme", "width"), [("light", 1280), ("dark", 1280), ("light", 400), ("dark", 400)])
def test_all_charts_are_drawn_without_an_error_and_fit_the_screen(
    browser: Any, page: str, theme: str, width: int
) -> None:
    show(browser, page, theme, width)
    assert browser.execute_script("return window.reportFailures") == []
    assert browser.get_log("browser") == []
    num_charts = len(browser.find_elements("css selector", "[data-chart]"))
    assert num_charts >= 12
    pixels = browser.execute_script(PIXELS)
    assert len(pixels) == num_charts
    assert all(drawn > 500 and colours > 3 for drawn, colours in pixels), pixels
    assert browser.execute_script("return document.documentElement.scrollWidth") == width
    seen = picture(browser, width)
    assert seen.shape[1] == width
    brightness = float(seen.mean())
    assert brightness > 200 if theme == "light" else brightness < 60


def test_a_page_asks_for_nothing_else(browser: Any, page: str) -> None:
    show(browser, page, "light", 1280)
    assert browser.execute_script("return performance.getEntriesByType('resource').map(one => one.name)") == []


def test_theme_and_axis_can_be_switched(browser: Any, page: str) -> None:
    show(browser, page, "light", 1280)
    before = picture(browser, 1280)
    for selector in ("[data-set-theme=dark]", "[data-axis=time]"):
        browser.find_element("css selector", selector).click()
        wait_until_drawn(browser)
        assert browser.find_element("css selector", selector).get_attribute("aria-pressed") == "true"
    assert picture(browser, 1280).mean() < before.mean() / 3
    assert browser.execute_script("return window.reportFailures") == []
    browser.execute_script("localStorage.clear()")  # It is remembered, for all pages.


def test_the_pointer_shows_the_nearest_value(browser: Any, page: str) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    show(browser, page, "light", 1280)
    chart = browser.find_element("css selector", "[data-chart] canvas")
    ActionChains(browser).move_to_element(chart).perform()
    deadline = time.monotonic() + 10.0
    while not (tip := browser.find_elements("css selector", "#vg-tooltip-element.visible")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    name, value, steps = tip[0].text.split("\n")
    assert name == "curve last 100 episodes"
    assert 10.0 < float(value.removeprefix("Return ")) < 400.0
    assert steps.startswith("env steps ")


def steps_left_of_the_middle(browser: Any, chart: Any) -> float:
    """The env steps of the point that is nearest to a place left of the chart's middle, as its tooltip tells them."""
    from selenium.webdriver.common.action_chains import ActionChains

    def tip() -> list[Any]:
        return browser.find_elements("css selector", "#vg-tooltip-element.visible")

    heading = browser.find_element("css selector", "h1")
    deadline = time.monotonic() + 10.0
    ActionChains(browser).move_to_element(heading).perform()
    while tip():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    ActionChains(browser).move_to_element_with_offset(chart, -chart.size["width"] // 5, 0).perform()
    while not tip():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return float(tip()[0].text.split("env steps ")[1].replace(",", ""))


def wheel_over(browser: Any, chart: Any, modifiers: int) -> None:
    """Turns the wheel over the middle of a chart, so that it comes nearer."""
    script = "const box = arguments[0].getBoundingClientRect(); return [box.x + box.width / 2, box.y + box.height / 2]"
    x, y = browser.execute_script(script, chart)
    event = {"type": "mouseWheel", "x": x, "y": y, "deltaX": 0, "deltaY": -200, "modifiers": modifiers}
    browser.execute_cdp_cmd("Input.dispatchMouseEvent", event)


@pytest.mark.parametrize("modifiers", [2, 8], ids=["ctrl", "shift"])
def test_the_wheel_with_a_key_zooms_dragging_moves_and_a_double_click_goes_back(
    browser: Any, page: str, modifiers: int
) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    show(browser, page, "light", 1280)
    chart = browser.find_element("css selector", "[data-chart] canvas")
    before = steps_left_of_the_middle(browser, chart)
    wheel_over(browser, chart, 0)
    browser.execute_script("scrollTo(0, 0)")
    assert steps_left_of_the_middle(browser, chart) == before, "the wheel alone scrolls the page"
    wheel_over(browser, chart, modifiers)
    zoomed = steps_left_of_the_middle(browser, chart)
    # The middle stays where it is, and what is beside it comes from nearer to it.
    assert zoomed > before * 1.05
    ActionChains(browser).drag_and_drop_by_offset(chart, chart.size["width"] // 5, 0).perform()
    assert steps_left_of_the_middle(browser, chart) < zoomed * 0.95
    ActionChains(browser).double_click(chart).perform()
    assert steps_left_of_the_middle(browser, chart) == before
    assert browser.execute_script("return window.reportFailures") == []


@pytest.mark.parametrize(("theme", "width"), [("light", 1280), ("dark", 400)])
def test_the_page_of_several_runs_is_drawn_as_well(browser: Any, theme: str, width: int, tmp_path: Path) -> None:
    more = {"eval_return_mean": 50.0, "lag_rows/0": 96.0, "lag_rows/1": 32.0}
    paths = [
        write_run(tmp_path / f"run{number}", 30, TrainConfig(seed=number, rollout_steps=steps), more=more).path
        for number, steps in enumerate((16, 16, 32))
    ]
    write_page(tmp_path / "report.html", grouped([read_run(path) for path in paths]))
    show(browser, (tmp_path / "report.html").as_uri(), theme, width)
    assert browser.execute_script("return window.reportFailures") == []
    assert browser.get_log("browser") == []
    assert all(drawn > 500 and colours > 3 for drawn, colours in browser.execute_script(PIXELS))
    assert browser.execute_script("return document.documentElement.scrollWidth") == width


@pytest.mark.parametrize(("theme", "width"), [("light", 1280), ("dark", 1280), ("light", 400), ("dark", 400)])
def test_the_page_of_a_search_is_drawn_as_well(browser: Any, theme: str, width: int, tmp_path: Path) -> None:
    search = {"ppo.learning-rate": "loguniform 1e-4 1e-2", "network.actor-units": "choice 8,8 64,64"}
    train = TrainConfig(total_steps=2700)
    space, random = SearchSpace(search, train), np.random.default_rng(0)
    records = [
        TrialRecord(trial, trial, 0, space.draw(random), state, reports=reports)
        for trial in range(9)
        for state, turns in [(STOPPED, 9) if trial % 3 else (FINISHED, 27)]
        for reports in [[TrialReport(100 * turn, float(10 * trial + turn), 1.0) for turn in range(1, turns + 1)]]
    ]
    result = search_result(TuneConfig(search), train, records, tmp_path, list(space.domains))
    assert write_picture(result, space, importances(result, space)) is not None
    show(browser, (tmp_path / "search.html").as_uri(), theme, width)
    assert browser.execute_script("return window.reportFailures") == []
    assert browser.get_log("browser") == []
    pixels = browser.execute_script(PIXELS)
    assert len(pixels) == 4
    assert len(browser.find_elements("css selector", "section:last-of-type tbody tr")) == 9
    assert all(drawn > 500 and colours > 3 for drawn, colours in pixels), pixels
    assert browser.execute_script("return document.documentElement.scrollWidth") == width
    brightness = float(picture(browser, width).mean())
    assert brightness > 200 if theme == "light" else brightness < 60
