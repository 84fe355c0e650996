# SPDX-License-Identifier: GPL-3.0-or-later
"""The page of the role audit in a real browser, with made-up results: can it be read, filtered and printed?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from testbed import audits
from testbed import browser as browsers
from testbed.audits import FINE, HOSTS_SHOWN, UNREADABLE
from testbed.browser import Browser

WIDTHS = (700, 1000, 1280, 1600, 2560)
COUNTS = (1, 60, 1000)
LENGTHS = ("short", "long")  # names and values
HEIGHT = 900
A4 = {"portrait": 711, "landscape": 1039}  # pixels between the margins of the page
WITH_CARDS = (700, 1000)

TYPE = """
  const field = document.getElementById("text");
  field.value = arguments[0];
  field.dispatchEvent(new Event("input"));
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    why_not = browsers.reason_to_skip()
    if why_not:
        pytest.skip(why_not)
    with browsers.browser() as browser:
        yield browser


@pytest.fixture
def page(browser: Browser) -> Iterator[Browser]:
    """The browser, as a window on a screen and with scripts."""
    browser.resize(1280, HEIGHT)
    yield browser
    browser.emulate("")
    browser.allow_scripts(True)


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[int, str], Path]:
    """By number of hosts and length of their names: a page that is compared with an earlier audit."""
    folder = tmp_path_factory.mktemp("pages")
    written = {}
    for count in COUNTS:
        for length in LENGTHS:
            results = audits.results_of(count, is_long=length == "long")
            path = folder / f"{count}-{length}.html"
            written[count, length] = audits.write_page(path, results, audits.changed(results))
    return written


@pytest.mark.story
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("length", LENGTHS)
def test_the_page_can_be_read(
    page: Browser, pages: dict[tuple[int, str], Path], width: int, count: int, length: str
) -> None:
    page.resize(width, HEIGHT)
    page.open(pages[count, length])
    assert page.run("return innerWidth") == width
    assert page.run(UNREADABLE, HEIGHT) == []
    assert len(page.run(HOSTS_SHOWN)) == count
    is_table = page.run("return getComputedStyle(document.querySelector('.host')).display") == "table-row"
    assert is_table == (width not in WITH_CARDS)
    # It asks for nothing (no style, font or picture from anywhere), and the browser has nothing to complain about.
    assert page.run("return performance.getEntriesByType('resource').length") == 0
    assert page.log() == []


def test_what_cannot_be_read_is_found(page: Browser, tmp_path: Path) -> None:
    """The other way round: each of the faults that the test looks for, made on purpose."""
    html = audits.page(audits.results_of(60, is_long=True))
    faults = {
        "broken: ": ".text { min-width: 0 !important; width: 3em; overflow-wrap: anywhere }",
        "narrower than its text: ": "table { table-layout: fixed } * { overflow-wrap: normal !important }",
        "page wider than window": "td { white-space: nowrap }",
        "outside: ": "code { position: relative; left: 2000px }",
        "higher than the window: ": ".text { height: 1000px }",
    }
    for fault, style in faults.items():
        (tmp_path / "page.html").write_text(html.replace("</style>", style + "</style>"))
        page.open(tmp_path / "page.html")
        assert any(one.startswith(fault) for one in page.run(UNREADABLE, HEIGHT)), fault


@pytest.mark.parametrize("width", A4.values(), ids=A4)
@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("length", LENGTHS)
def test_the_page_can_be_read_on_paper(
    page: Browser, pages: dict[tuple[int, str], Path], width: int, count: int, length: str
) -> None:
    page.emulate("print")
    page.resize(width, HEIGHT)
    page.open(pages[count, length])
    assert page.run(UNREADABLE, HEIGHT) == []
    assert not page.run("return document.querySelector('.search').checkVisibility()")


@pytest.mark.parametrize(("landscape", "most"), [(False, 8), (True, 6)])
def test_sixty_hosts_take_few_sheets(
    page: Browser, pages: dict[tuple[int, str], Path], landscape: bool, most: int
) -> None:
    page.open(pages[60, "short"])
    printed = page.printed(landscape=landscape)
    assert printed.startswith(b"%PDF")
    assert 1 < printed.count(b"/Type /Page\n") <= most


def expected(results: dict[str, Any], earlier: dict[str, Any], **wanted: str) -> list[str]:
    """The hosts of a level, with a finding, or with a kind of change, in the order of the report."""
    return [
        row["host"]
        for row in audits.report(results, earlier)["hosts"]
        if wanted.get("level", row["level"]) == row["level"]
        and wanted.get("change", row["change"]["kind"]) == row["change"]["kind"]
        and wanted.get("finding", "") in ["", *(one["code"] for one in row["findings"])]
    ]


@pytest.mark.story
@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no-scripts"])
@pytest.mark.parametrize("width", [700, 1280])
def test_counts_are_filters(page: Browser, pages: dict[tuple[int, str], Path], scripts: bool, width: int) -> None:
    results = audits.results_of(60)
    earlier = audits.changed(results)
    page.allow_scripts(scripts)
    page.resize(width, HEIGHT)
    page.open(pages[60, "short"])
    assert page.run("return document.querySelector('.search').checkVisibility()") == scripts
    assert page.run(HOSTS_SHOWN) == expected(results, earlier)
    for name, value in (("level", "danger"), ("finding", "unreachable"), ("change", "worse")):
        label = f"[for={name}-{value}]"
        page.click(label)
        seen = page.run(HOSTS_SHOWN)
        assert seen == expected(results, earlier, **{name: value})
        assert page.run(f"return document.querySelector('{label} b').textContent") == str(len(seen))
        page.click(f"[for={name}-all]")
    # Two of them at once, and with the keyboard.
    page.click("[for=level-unknown]")
    page.click("[for=change-worse]")
    assert page.run(HOSTS_SHOWN) == expected(results, earlier, level="unknown", change="worse")
    page.press("\ue014")  # arrow to the right
    assert page.run(HOSTS_SHOWN) == expected(results, earlier, level="unknown", change="better")
    assert page.run("return scrollY") == 0


def test_words_filter_too(page: Browser, pages: dict[tuple[int, str], Path]) -> None:
    results = audits.results_of(60, is_long=True)
    page.open(pages[60, "long"])
    page.run(TYPE, "NO route web-0016.eu")
    assert page.run(HOSTS_SHOWN) == [audits.LONG.format(16)]
    assert page.run("return document.getElementById('shown').textContent") == "1 of 60 hosts"
    page.click("[for=level-danger]")
    assert page.run(HOSTS_SHOWN) == []
    assert page.run("return document.getElementById('none').checkVisibility()")
    page.run(TYPE, "")
    assert page.run(HOSTS_SHOWN) == expected(results, audits.changed(results), level="danger")


def test_a_level_does_not_rest_on_its_color_and_can_be_read(page: Browser, pages: dict[tuple[int, str], Path]) -> None:
    """Each has a word and a sign of its own, and the contrast that WCAG asks for (4.5 to 1), as has all other text."""
    page.open(pages[60, "short"])
    script = """
      const cells = [...document.querySelectorAll("td.level, .silent, .note, .badge, legend, label, p, dt, summary")];
      return cells.filter(cell => cell.checkVisibility()).map(cell => {
        const style = getComputedStyle(cell);
        return [cell.textContent, style.color, style.opacity];
      });
    """
    seen = page.run(script)
    assert {"✖ Danger", "? Unknown", "▲ Warning", "● Attention", "✔ Fine"} <= {text for text, *_rest in seen}
    for text, color, opacity in seen:
        assert contrast_to_white(color, float(opacity)) >= 4.5, (text, color)


def contrast_to_white(color: str, opacity: float) -> float:
    """By the formula of WCAG 2."""
    parts = [int(part) / 255 for part in color.removeprefix("rgb(").removesuffix(")").split(",")]
    seen = [1 - opacity * (1 - part) for part in parts]
    red, green, blue = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in seen)
    return 1.05 / (0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05)


ATTACKS = (
    "<script>window.hit = 1</script>",
    '"><img src=x onerror="window.hit = 1"><svg onload="window.hit = 1">',
    "</td></tr></table></script></style><h1 id=shown>x</h1><!--",
    "' autofocus onfocus='window.hit = 1' x='",
    "\u202e\u0000\ud800 javascript:window.hit=1",
    "\u0301" * 500 + "\ufdfd" * 500 + "\U0001242b" * 500,
)


@pytest.mark.parametrize("width", [700, 1280])
def test_nothing_of_a_host_is_executed(page: Browser, tmp_path: Path, width: int) -> None:
    page.resize(width, HEIGHT)
    results: dict[str, Any] = {"fine": FINE, "failed": {"msg": " ".join(ATTACKS)}}
    for number, attack in enumerate(ATTACKS):
        odd = {**FINE, "configured": [attack], "in_force": [attack], "overridden_by": attack, "airflow_version": attack}
        results[f"host{number}"] = {**odd, "warnings_found": [attack] * 3, "open_to_everybody": True}
    earlier = {host: {**FINE, "path": ATTACKS[0]} for host in results}
    page.open(audits.write_page(tmp_path / "page.html", results, earlier))
    assert page.run("return window.hit ?? null") is None
    assert page.run("return document.querySelectorAll('img, svg, h1, script').length") == 2
    assert page.log() == []
    assert len(page.run(HOSTS_SHOWN)) == len(results)
    assert page.run(UNREADABLE, HEIGHT) == []


def test_a_script_that_got_in_all_the_same_would_not_run(page: Browser, tmp_path: Path) -> None:
    html = audits.page({"fine": FINE})
    attack = "<script>window.hit = 1</script><a id=x onclick='window.hit = 1'>x</a><img src=http://127.0.0.1:9/x>"
    (tmp_path / "page.html").write_text(html.replace("<main>", "<main>" + attack))
    page.open(tmp_path / "page.html")
    page.click("#x")
    assert page.run("return window.hit ?? null") is None
    assert "Content Security Policy" in str(page.log())
