from __future__ import annotations

import itertools
import re
import xml.etree.ElementTree
from html.parser import HTMLParser
from pathlib import Path

import pytest

from launch.config.train import TrainConfig
from launch.output import html_report
from launch.output.metrics import MetricsFile
from launch.output.run_directory import RunDirectory

VOID = {"meta"}


class Page(HTMLParser):
    """Checks that tags are closed in order, and collects text, attributes and tags."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self._open
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open:
            self.text.setdefault(self._open[-1], []).append(data)


def written(folder: Path, num_rows: int = 5, env: str = "CartPole-v1") -> str:
    config = TrainConfig(env=env, seed=3)
    run = RunDirectory.create(folder / "run", config.env)
    table = MetricsFile(run.metrics_file)
    for update in range(1, num_rows + 1):
        row = {"update": update, "env_steps": 100 * update, "entropy": 0.5, "episodes": update}
        table.write({**row, "return_mean_100": float(update**2), "steps_per_s": 10.0 * update})
    table.close()
    html_report.write(run, config)
    return run.report_file.read_text()


def test_a_report_is_html_that_needs_no_other_file(tmp_path: Path) -> None:
    text = written(tmp_path)
    assert text.lower().startswith("<!doctype html>")
    page = Page(text)
    assert not {"link", "script", "img", "iframe", "object"} & set(page.tags)
    assert not {"src", "href", "xlink:href"} & {name for name, _ in page.attributes}
    assert "url(" not in text
    assert "@import" not in text
    assert "".join(page.text["h1"]) == "CartPole-v1, seed 3"
    assert "env_steps 500, episodes 5, return_mean_100 25" in "".join(page.text["p"])


def test_a_report_draws_a_chart_of_every_column_with_figures(tmp_path: Path) -> None:
    text = written(tmp_path)
    page = Page(text)
    assert page.tags.count("svg") == page.tags.count("polyline") == 3
    headings = page.text["h2"]
    assert "Mean return of the last 100 episodes" in headings
    assert "KL divergence of an update" not in headings  # nothing was written of it


def test_a_charts_line_goes_through_the_rows_figures(tmp_path: Path) -> None:
    lines = re.findall(r"<polyline points='([^']*)'", written(tmp_path))
    points = [[tuple(map(float, point.split(","))) for point in line.split()] for line in lines]
    returns = points[0]
    assert len(returns) == 5
    xs, ys = zip(*returns, strict=True)
    # Evenly spaced steps; a return of 1 is at the bottom, and 25 at the top.
    assert [round(after - before, 1) for before, after in itertools.pairwise(xs)] == [110.0] * 4
    heights = [(ys[0] - y) / (ys[0] - ys[-1]) for y in ys]
    assert heights == pytest.approx([(update**2 - 1) / 24 for update in range(1, 6)], abs=0.01)
    assert ys[-1] < ys[0]
    assert len({y for _, y in points[2]}) == 1  # the entropy was always the same


def test_charts_are_well_formed_once_their_attributes_are_quoted(tmp_path: Path) -> None:
    for chart in re.findall(r"<svg.*?</svg>", written(tmp_path), re.DOTALL):
        quoted = re.sub(r"=([^\s'>/]+)", r"='\1'", chart)
        root = xml.etree.ElementTree.fromstring(quoted)
        assert root.find("polyline") is not None
        assert [text.text for text in root.findall("text")][-1] == "500 env steps"


@pytest.mark.parametrize("num_rows", [0, 1])
def test_a_report_of_too_few_rows_has_no_charts(num_rows: int, tmp_path: Path) -> None:
    page = Page(written(tmp_path, num_rows))
    assert "svg" not in page.tags
    assert "Configuration" in page.text["h2"]


def test_a_report_shows_the_config(tmp_path: Path) -> None:
    assert "rollout_steps: 32" in "".join(Page(written(tmp_path)).text["pre"])


def test_names_are_escaped(tmp_path: Path) -> None:
    env = "<script>alert('&')</script>"
    page = Page(written(tmp_path, env=env))
    assert "script" not in page.tags
    assert env in "".join(page.text["h1"])
    assert "alert" in "".join(page.text["pre"])


def test_a_report_of_an_asynchronous_run_tells_how_many_rows_had_which_lag(tmp_path: Path) -> None:
    directory = RunDirectory.create(tmp_path / "run", "CartPole-v1")
    file = MetricsFile(directory.metrics_file)
    for update, (fresh, old) in enumerate([(64.0, 0.0), (32.0, 32.0), (0.0, 64.0)], 1):
        lags = {"policy_lag_mean": old / 64, "lag_rows/0": fresh, "lag_rows/1": old}
        file.write({"update": update, "env_steps": 64 * update, **lags})
    file.close()
    html_report.write(directory, TrainConfig())
    text = re.sub(r"<[^>]*>", " ", directory.report_file.read_text())
    assert re.search(r"0\s+96\s+50\.0%\s+1\s+96\s+50\.0%", text)
    assert "Mean policy lag" in text
