"""The page of the monitor and axe-core: contrast, labels, roles; and the keyboard."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from host_tests.monitor import AXE, example_devices
from host_tests.monitor.test_web_page import CHROMIUM, SLOW, running_monitor
from tools import npm
from tools.broker import Mosquitto

_SCRIPT = AXE / "node_modules" / "axe-core" / "axe.min.js"
_TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
SIZES = {"desktop": (1280, 800), "phone": (390, 844)}
_RUN_AXE = """async (tags) => {
  const results = await axe.run(document, { runOnly: tags });
  return { passes: results.passes.length, violations: results.violations.map((violation) => ({
    id: violation.id, help: violation.help,
    nodes: violation.nodes.slice(0, 5).map((node) => `${node.html.slice(0, 200)}: ${node.failureSummary}`)
  })) };
}"""

pytestmark = [
    pytest.mark.skipif(not CHROMIUM, reason="chromium is not installed"),
    pytest.mark.skipif(not shutil.which("npm"), reason="npm is not installed"),
]


@pytest.fixture(scope="module")
def axe() -> str:
    """The source of axe-core."""
    reason = npm.install(AXE)
    if reason:
        pytest.skip(reason)
    return _SCRIPT.read_text(encoding="utf-8")


@pytest.fixture
def url(private_broker: Mosquitto, tmp_path: Path) -> Iterator[str]:
    alert = ("--alert", "*/chip_temperature above 70", "--history", str(tmp_path / "history.sqlite3"))
    with running_monitor(private_broker, "umqtt5", *alert) as monitor_url:
        yield monitor_url


def open_page(browser: Browser, url: str, size: str, scheme: str) -> Page:
    """Open the page in a new window, which is as large as a screen or as a phone."""
    width, height = SIZES[size]
    color_scheme: Any = scheme
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=color_scheme)
    page.set_default_timeout(SLOW)
    expect.set_options(timeout=SLOW)
    page.goto(url)
    return page


def find_violations(page: Page, axe: str) -> list[dict[str, Any]]:
    """Run axe-core in the page."""
    page.evaluate(axe)
    results: dict[str, Any] = page.evaluate(_RUN_AXE, _TAGS)
    assert results["passes"] > 20  # it has looked at something
    violations: list[dict[str, Any]] = results["violations"]
    return violations


@pytest.mark.parametrize("scheme", ("light", "dark"))
@pytest.mark.parametrize("size", SIZES)
def test_axe_finds_no_violation_with_alerts(
    browser: Browser, private_broker: Mosquitto, url: str, axe: str, size: str, scheme: str
) -> None:
    names = example_devices.device_names(8)
    example_devices.publish_state(private_broker.address, "umqtt5", names)
    page = open_page(browser, url, size, scheme)
    expect(page.locator(".device")).to_have_count(len(names))
    expect(page.locator(".device.alarmed").first).to_be_visible()
    expect(page.locator(".problems li").first).to_be_visible()
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert find_violations(page, axe) == []
    page.locator("#view").select_option("compact")
    assert find_violations(page, axe) == []
    private_broker.stop()
    expect(page.locator("#banner")).to_be_visible()
    assert find_violations(page, axe) == []
    page.close()


@pytest.mark.parametrize("scheme", ("light", "dark"))
@pytest.mark.parametrize("size", SIZES)
def test_axe_finds_no_violation_with_200_devices(
    browser: Browser, private_broker: Mosquitto, url: str, axe: str, size: str, scheme: str
) -> None:
    names = example_devices.device_names(200)
    example_devices.publish_state(private_broker.address, "umqtt5", names)
    page = open_page(browser, url, size, scheme)
    expect(page.locator(".device")).to_have_count(len(names))
    expect(page.locator("#view")).to_have_value("compact")
    assert find_violations(page, axe) == []
    # nothing is wider than the window
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    page.close()


def test_axe_finds_no_violation_without_devices(browser: Browser, url: str, axe: str) -> None:
    page = open_page(browser, url, "desktop", "light")
    expect(page.locator("#empty")).to_be_visible()
    assert find_violations(page, axe) == []
    page.close()


_FOCUSED = """() => {
  const element = document.activeElement;
  const style = getComputedStyle(element);
  return [element.id || element.className || element.tagName,
          style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2,
          element.matches(':focus-visible')];
}"""


def test_each_control_is_reached_with_the_keyboard_and_shows_the_focus(
    browser: Browser, private_broker: Mosquitto, url: str
) -> None:
    example_devices.publish_state(private_broker.address, "umqtt5", ["cellar"])
    page = open_page(browser, url, "desktop", "light")
    expect(page.locator("[data-device=cellar] .switch")).to_have_count(3)
    page.locator("summary").focus()
    page.keyboard.press("Enter")  # opens the details
    expect(page.locator(".device-csv")).to_be_visible()
    controls = page.locator("a[href]:visible, button:visible, input:visible, select:visible, summary:visible")
    expected = controls.count() + 1  # the log, too, because it can be scrolled
    assert expected == 4 + 3 + 2 + 1
    page.evaluate("document.activeElement.blur()")
    page.locator("h1").click()
    reached = []
    for _ in range(expected):
        page.keyboard.press("Tab")
        name, has_outline, is_visible = page.evaluate(_FOCUSED)
        assert has_outline and is_visible, name
        reached.append(name)
    assert reached == [
        *("filter", "show", "view", "csv"),
        *("switch",) * 3,
        *("SUMMARY", "device-csv", "log"),
    ]
    page.locator(".switch").nth(1).focus()
    page.keyboard.press("Space")  # sends a command
    expect(page.locator("#log")).to_contain_text("cellar: lamp: ON: sent")
    page.close()
