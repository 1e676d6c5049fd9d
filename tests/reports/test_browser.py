"""The pages in a real headless Chromium: silent console, no request but the page itself, no overflow on a phone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import report_browser
import report_samples as samples
from test_pages import hostile

from reports import render, schema

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(report_browser.executable() is None, reason="no Chromium on PATH: apt install chromium"),
]


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    home = tmp_path_factory.mktemp("runs")
    for name, make in samples.ALL.items():
        schema.write(make(), home / name / f"{name}.json")
        schema.write(hostile(make()), home / f"hostile-{name}" / f"{name}.json")
    return render.render_all([home])


@pytest.fixture(scope="module")
def browser() -> Iterator[report_browser.Browser]:
    with report_browser.Browser() as opened:
        yield opened


@pytest.mark.parametrize(("width", "dark", "print_"), [(360, False, False), (1200, True, False), (700, False, True)])
def test_pages_are_silent_offline_and_fit(
    pages: list[Path], browser: report_browser.Browser, width: int, dark: bool, print_: bool
) -> None:
    for page in pages:
        browser.open(page, width=width, dark=dark, print_=print_)
        assert browser.complaints() == [], page
        assert {url for url in browser.requests() if not url.startswith("data:")} == {page.resolve().as_uri()}
        if not print_:  # on paper wide tables wrap instead of scrolling; there is no viewport to overflow
            assert browser.evaluate("document.documentElement.scrollWidth") <= width, page
        assert browser.evaluate("document.fonts.size") == 0
        asks = browser.evaluate("document.querySelectorAll('table[data-sortable], ol.said').length")
        assert browser.evaluate("document.scripts.length") == min(asks, 1)


def test_dark_mode_changes_the_paper(pages: list[Path], browser: report_browser.Browser) -> None:
    ink = []
    for dark in (False, True):
        browser.open(pages[0], width=1200, dark=dark)
        ink.append(browser.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert ink == ["rgb(255, 255, 255)", "rgb(20, 23, 26)"]


def opened(pages: list[Path], browser: report_browser.Browser, name: str) -> report_browser.Browser:
    browser.open(next(page for page in pages if page.parent.name == name), width=1200)
    return browser


FIRST = "document.querySelector('table[data-sortable] tbody tr:not([hidden]) th').innerText"


def press(browser: report_browser.Browser, key: str, code: int) -> None:
    for kind in ("keyDown", "keyUp"):
        browser.call(
            "Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, text="\r" * (key == "Enter")
        )


def test_the_table_sorts_by_keyboard_and_filters(pages: list[Path], browser: report_browser.Browser) -> None:
    page = opened(pages, browser, "parity")
    assert page.evaluate(FIRST).startswith("frontend.fbank")
    page.evaluate("document.querySelectorAll('table[data-sortable] th button')[2].focus()")
    press(page, "Enter", 13)
    assert page.evaluate(FIRST).startswith("decoder.decoders.15")  # 412 times the floor
    assert page.evaluate("document.querySelector('th[aria-sort]').getAttribute('aria-sort')") == "descending"
    press(page, "Enter", 13)
    assert page.evaluate(FIRST).startswith(("predictor.token_num", "predictor.firing_frames", "text.token_ids"))
    press(page, "Enter", 13)
    assert page.evaluate(FIRST).startswith("frontend.fbank")  # network order again
    page.evaluate(
        "const f = document.querySelector('.filter input'); f.value = 'AFTER_norm';"
        "f.dispatchEvent(new Event('input')); 0"
    )
    assert page.evaluate("document.querySelector('.filter output').textContent") == "2 of 20 rows"
    page.evaluate("document.querySelectorAll('.filter input')[1].click()")
    assert page.evaluate(FIRST).startswith("decoder.after_norm")
    assert page.complaints() == []


GROUPS = "[...document.querySelector('table[data-sortable]').tBodies[0].rows]"


def test_groups_unfold_and_sort_by_keyboard(pages: list[Path], browser: report_browser.Browser) -> None:
    page = opened(pages, browser, "cer")
    assert page.evaluate(f"{GROUPS}[0].checkVisibility()") is False  # folded
    page.evaluate("document.querySelector('.card summary').focus()")
    press(page, "Enter", 13)
    assert page.evaluate(f"{GROUPS}[0].checkVisibility()") is True
    assert page.evaluate(f"{GROUPS}[0].cells[0].innerText") == "S0764"  # the report's order
    page.evaluate("document.querySelectorAll('table[data-sortable] th button')[2].focus()")
    press(page, "Enter", 13)
    assert page.evaluate(f"{GROUPS}.map(row => row.cells[2].innerText).join(' ')") == (
        "14.62% 10.87% 10.33% 6.36% 6.25% 5.77% 4.66% 2.40%"
    )
    assert page.evaluate("document.querySelectorAll('.filter').length") == 0  # eight rows need none
    page = opened(pages, browser, "compare")
    page.evaluate("document.querySelectorAll('table[data-sortable] th button')[4].focus()")
    press(page, "Enter", 13)
    assert page.evaluate(f"{GROUPS}[0].cells[4].innerText") == "+12.50"
    page.evaluate("document.querySelector('.filter input').value = 's0770'")
    page.evaluate("document.querySelector('.filter input').dispatchEvent(new Event('input')); 0")
    assert page.evaluate("document.querySelector('.filter output').textContent") == "1 of 23 rows"
    assert page.complaints() == []


def test_all_that_folds_fits_a_phone(pages: list[Path], browser: report_browser.Browser) -> None:
    for name in ("cer", "compare", "hostile-cer", "hostile-compare"):
        browser.open(next(page for page in pages if page.parent.name == name), width=390)
        browser.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        assert browser.evaluate("document.documentElement.scrollWidth") <= 390, name


def test_recordings_play_under_the_policy(pages: list[Path], browser: report_browser.Browser) -> None:
    for name in ("cer", "compare"):
        page = opened(pages, browser, name)
        assert (
            page.evaluate("document.querySelector('audio').readyState") == 0
        )  # nothing is read before it is asked for
        play = "document.querySelector('audio').play().then(() => 'plays', error => error.name)"
        done = page.call("Runtime.evaluate", expression=play, awaitPromise=True, userGesture=True, returnByValue=True)
        assert done["result"]["value"] == "plays"
        assert page.complaints() == []


def test_hostile_reports_run_and_play_nothing(pages: list[Path], browser: report_browser.Browser) -> None:
    for name in ("cer", "compare"):
        page = opened(pages, browser, f"hostile-{name}")
        assert page.evaluate("document.querySelectorAll('audio, img, iframe, object').length") == 0
        assert page.evaluate("document.scripts.length") == 1
        assert "alert(1)" in page.evaluate("document.body.innerText")


def test_errors_are_marked_without_colour(pages: list[Path], browser: report_browser.Browser) -> None:
    """A substitution is boxed, a deletion's box is dashed, an insertion doubly underlined; a letter names each."""
    page = opened(pages, browser, "cer")
    for kind, side, style in (("sub", "Top", "solid"), ("del", "Top", "dashed"), ("ins", "Bottom", "double")):
        node = f"document.querySelector('.aligned .{kind}')"
        assert page.evaluate(f"getComputedStyle({node}).border{side}Style") == style
        assert page.evaluate(f"{node}.nextElementSibling.innerText") == kind[0].upper()
    rows = "[...document.querySelectorAll('.aligned')].map(line => [...line.querySelectorAll('.cell')]"
    tops = f"{rows}.slice(1, 9).map(cell => Math.round(cell.children[1].getBoundingClientRect().top)))"
    assert all(max(line) - min(line) <= 1 for line in page.evaluate(tops) if line and line[0])


def test_pictures_are_drawn_in_the_page(pages: list[Path], browser: report_browser.Browser) -> None:
    """A spectrogram, a heat map and its scale are images inside the SVG; the policy lets them load."""
    page = opened(pages, browser, "parity")
    boxes = page.evaluate("[...document.querySelectorAll('svg image')].map(i => i.getBoundingClientRect().width)")
    assert len(boxes) == 3
    assert min(boxes) > 50


CONTRAST = """
(() => {
  const numbers = text => text.match(/[\\d.]+/g).map(Number);
  const light = text => { const [r, g, b] = numbers(text).map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const paper = node => { for (; node; node = node.parentElement) { const c = getComputedStyle(node).backgroundColor;
    if (numbers(c).length === 3 || numbers(c)[3] > 0) return c; } return 'rgb(255, 255, 255)'; };
  const bad = [];
  for (const node of document.querySelectorAll('main *:not(svg):not(svg *)')) {
    if (![...node.childNodes].some(child => child.nodeType === 3 && child.data.trim())) continue;
    const a = light(getComputedStyle(node).color), b = light(paper(node));
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) bad.push(node.tagName + ' ' + node.className + ' ' + ratio.toFixed(2));
  }
  return [...new Set(bad)];
})()
"""


@pytest.mark.parametrize("dark", [False, True])
def test_texts_have_enough_contrast(pages: list[Path], browser: report_browser.Browser, dark: bool) -> None:
    """WCAG 2 AA: 4.5 to 1 for text, by its own formula."""
    for page in pages:
        browser.open(page, width=1200, dark=dark)
        assert browser.evaluate(CONTRAST) == [], page
