"""The page of a served policy in a real browser: headless Chromium, driven by Selenium."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from headless_browser import MARKS, started_browser

TOKEN = "a-token-of-some-length"
pytestmark = MARKS

# The elements that are wider inside than outside.
SCROLLED = """
return [document.documentElement, ...document.querySelectorAll('*')]
  .filter(item => item.clientWidth && item.scrollWidth > item.clientWidth).map(item => item.tagName);
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with started_browser() as driver:
        yield driver


def test_a_browser_that_has_the_password_shows_the_page_and_those_that_it_leads_to(
    serve: Callable[..., Any], browser: Any
) -> None:
    served = serve(token=TOKEN)
    browser.get(f"{served.http}/docs")
    assert "summing" not in browser.page_source
    # As if the user had been asked.
    browser.get(f"http://anyone:{TOKEN}@localhost:{served.port}/docs")
    assert browser.title == "summing"
    # By the name under which the page was opened.
    assert f"curl http://localhost:{served.port}/v1/act" in browser.find_element("css selector", "pre").text
    for link in ("openapi.json", "docs/policy.proto"):
        browser.get(f"http://localhost:{served.port}/docs")
        browser.find_element("css selector", f"a[href='{link}']").click()
        assert browser.current_url == f"http://localhost:{served.port}/{link}"
        assert "error" not in browser.find_element("css selector", "body").text[:50]


@pytest.mark.parametrize("width", [1280, 900, 400])
def test_the_page_needs_no_scroll_bar(serve: Callable[..., Any], browser: Any, width: int) -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(f"{serve().http}/docs")
    assert browser.title == "summing"
    assert browser.execute_script(SCROLLED) == []
