"""The report's page at three widths, light, dark and printed, by keyboard and for screen readers, in Chromium."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import axe_core
import numpy as np
import pytest
from chromium import Page, chromium
from page_pictures import PICTURES, SHOTS, made_report, take
from PIL import Image
from second_study import second_study

from reports.build import build
from reports.input import ControlsCertificate, Cost, ReportInput, ResultLine, RowInfo
from reports.spec import ReportSpec

WIDTHS = (390, 900, 1440)
LARGEST_PICTURE = 150_000
NAME = "one.getAttribute('aria-label') || one.querySelector('title')?.textContent"
"""Of a drawing."""
LONG = "a-row-whose-name-is-far-too-long-for-the-screen-of-a-telephone"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with chromium(tmp_path_factory.mktemp("chromium") / "profile") as tab:
        yield tab


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study of this repository, made up: strips, three seeds, published tables."""
    return made_report(tmp_path_factory.mktemp("study") / "made")


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study with an axis, a missing cell and no specification."""
    folder = tmp_path_factory.mktemp("other")
    build(folder, second_study())
    return folder / "index.html"


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """25 rows with random scores, one with a long name."""
    folder = tmp_path_factory.mktemp("crowd")
    build(folder, random_rows(25))
    return folder / "index.html"


def random_rows(count: int) -> ReportInput:
    generator = np.random.Generator(np.random.Philox(key=25))
    names = [LONG, *(f"variant-{i:02d}" for i in range(1, count))]
    of_row = generator.normal(size=(count, 2))
    values = [
        ResultLine(
            row=name,
            seed=seed,
            axes="",
            branch=branch,
            case=f"case-{case}",
            metric="score",
            unit="points",
            better="high",
            value=float(of_row[i, j] + 0.1 * generator.normal()),
        )
        for i, name in enumerate(names)
        for j, branch in enumerate(("near", "far"))
        for seed in (0, 1)
        for case in range(4)
    ]
    return ReportInput(
        study="crowd",
        profile="laptop",
        git="",
        seeds=(0, 1),
        rows=[RowInfo(name=name, family=f"family {i % 11}", alias_of=None) for i, name in enumerate(names)],
        tables={},
        values=values,
        missing=[],
        costs=[
            Cost(row=name, seed=0, axes="", stage="fit", branch=None, values={"device_s": 10.0 + i})
            for i, name in enumerate(names)
        ],
        strips=[],
        curves=[],
        controls=ControlsCertificate(fingerprint="ab" * 32, deviations=[], verdicts=[]),
        sections={},
        spec=ReportSpec(contrast=("near", "far")),
    )


def opened(page: Page, report: Path, width: int = 1440, scheme: str = "light", media: str = "screen") -> Page:
    page.size(width)
    page.media(media, scheme)
    page.open(report.as_uri())
    return page


@pytest.mark.parametrize("which", ["study", "other", "crowd"])
def test_the_page_does_not_scroll_sideways(page: Page, which: str, request: pytest.FixtureRequest) -> None:
    for width in WIDTHS:
        opened(page, request.getfixturevalue(which), width)
        page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert page.evaluate("document.querySelectorAll('.scroll').length") > 3
    opened(page, request.getfixturevalue(which), WIDTHS[0])
    fixed = """(() => {
        const box = [...document.querySelectorAll('.scroll')].find(one => one.scrollWidth > one.clientWidth + 50);
        if (!box) return null;
        box.scrollLeft = 50;
        const first = box.querySelector('tbody th').getBoundingClientRect();
        return [Math.round(first.left - box.getBoundingClientRect().left), first.width / innerWidth];
    })()"""
    found = page.evaluate(fixed)
    assert found is None or (found[0] <= 1 and found[1] < 0.6), "a wide table scrolls, and its first column stays"
    assert found is not None or which == "crowd"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("which", ["study", "other"])
def test_axe_finds_nothing_serious(page: Page, which: str, scheme: str, request: pytest.FixtureRequest) -> None:
    assert axe_core.SCRIPT.is_file(), "`make test-root` fetches axe-core"
    opened(page, request.getfixturevalue(which), 390 if scheme == "light" else 900, scheme)
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
    page.evaluate(axe_core.SCRIPT.read_text())
    run = "axe.run(document).then(found => JSON.stringify([found.violations, found.passes.map(one => one.id)]))"
    violations, passes = json.loads(page.evaluate(run))
    assert [told(one) for one in violations if one["impact"] != "minor"] == []
    rules = {
        "color-contrast",
        "document-title",
        "html-has-lang",
        "region",
        "scrollable-region-focusable",
        "svg-img-alt",
    }
    assert rules <= set(passes)


def told(violation: Mapping[str, Any]) -> str:
    nodes = "; ".join(node["html"][:120] for node in violation["nodes"][:3])
    return f"{violation['impact']} {violation['id']}: {violation['help']}: {nodes}"


def test_the_keyboard_reaches_everything_and_shows_where_it_is(page: Page, study: Path) -> None:
    opened(page, study, 900)
    focused = """(() => {
        const one = document.activeElement, style = getComputedStyle(one);
        return [one.tagName, one.className, one.getAttribute('aria-label') || one.textContent,
                style.outlineStyle != 'none' && parseFloat(style.outlineWidth) >= 2];
    })()"""
    page.press("Tab")
    assert page.evaluate(focused)[:3] == ["A", "skip", "Skip to the content"]
    assert page.evaluate("document.activeElement.getBoundingClientRect().top") >= 0
    page.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    places = []
    for _ in range(400):
        page.press("Tab")
        places.append(page.evaluate(focused))
        if places[-1][0] == "BODY":
            break
    unseen = [place for place in places if not place[3] and place[0] not in ("BODY", "HTML")]
    assert unseen == []
    assert {"A", "DIV", "INPUT", "BUTTON", "SUMMARY"} <= {place[0] for place in places}
    boxes = [place[2] for place in places if place[0] == "DIV"]
    assert "families" in boxes and all(boxes) and len(set(boxes)) == len(boxes)
    box = "document.querySelector('[role=region][aria-label=\"families\"]')"
    page.size(390)
    page.evaluate(f"{box}.focus()")
    page.press("ArrowRight")
    page.wait_for(f"{box}.scrollLeft > 0")


def test_headings_are_in_order_and_tables_are_named(page: Page, study: Path) -> None:
    opened(page, study)
    levels = page.each("h1, h2, h3, h4", "Number(one.tagName[1])")
    assert levels[0] == 1 and levels.count(1) == 1
    assert max(np.diff(levels)) == 1
    assert all(page.each("table", "one.caption?.textContent"))
    assert set(page.each("th", "one.scope")) == {"row", "col", "colgroup"}
    assert all(page.each("img", "one.alt"))
    drawings = page.each("svg", f"[one.getAttribute('role'), {NAME}]")
    assert len(drawings) > 4 and all(role == "img" and name for role, name in drawings)
    assert len(page.each("header, nav, main, footer", "1")) == 4


@pytest.mark.parametrize("which", ["study", "crowd"])
def test_names_in_drawings_do_not_overlap(page: Page, which: str, request: pytest.FixtureRequest) -> None:
    opened(page, request.getfixturevalue(which))
    box = "(({left, top, right, bottom}) => [left, top, right, bottom])(one.getBoundingClientRect())"
    drawings = page.each("svg", f"[{box}, {NAME}]")
    assert drawings
    for i, (area, title) in enumerate(drawings):
        page.evaluate(f"document.querySelectorAll('svg')[{i}].id = 'looked-at-{i}'")
        texts = page.each(f"#looked-at-{i} text", f"[{box}, one.textContent]")
        assert [text for one, text in texts if one[0] < area[0] - 2 or one[2] > area[2] + 2] == [], title
        assert [(a, b) for (one, a), (other, b) in combinations(texts, 2) if overlap(one, other)] == [], title


def overlap(a: Sequence[float], b: Sequence[float]) -> bool:
    """Whether two boxes (left, top, right, bottom) share more than the edges of letters."""
    return a[0] < b[2] - 1 and b[0] < a[2] - 1 and a[1] < b[3] - 2 and b[1] < a[3] - 2


def shown(page: Page, selector: str) -> list[str]:
    """Texts of the elements that are seen, each once."""
    texts = page.each(selector, "one.checkVisibility() ? one.textContent : ''")
    return list(dict.fromkeys(filter(None, texts)))


def choose(page: Page, label: str) -> None:
    page.evaluate(f"[...document.querySelectorAll('.filters label')].find(one => one.textContent == {label!r}).click()")


def test_filters_hide_rows_without_scripts(page: Page, study: Path, other: Path) -> None:
    assert "<script" not in study.read_text(encoding="utf-8")
    rows, strips, seeds = "tbody th:first-child:has(> .dot)", ".strip > div:has(> .dot)", "th.seed small:last-child"
    opened(page, study)
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
    everything = shown(page, rows)
    assert len(everything) >= 16 and not page.evaluate("document.querySelector('.filtered').checkVisibility()")
    choose(page, "state-space")
    assert shown(page, rows) == shown(page, strips) == ["ssm-hybrid", "ssm-blockwise"]
    assert page.evaluate("document.querySelector('.filtered').checkVisibility()")
    assert shown(page, seeds) == ["seed 0", "seed 1", "seed 2"]
    choose(page, "2")
    assert shown(page, seeds) == ["seed 2"]
    page.evaluate("document.querySelector('.filters button').click()")
    assert shown(page, rows) == everything

    opened(page, other)
    assert {row.rpartition("/")[2] for row in shown(page, rows)} == {"noise=0.0", "noise=0.3"}
    choose(page, "0.3")
    assert {row.rpartition("/")[2] for row in shown(page, rows)} == {"noise=0.3"}


def test_a_term_shows_its_meaning_and_leads_to_it(page: Page, study: Path) -> None:
    opened(page, study)
    links = page.each("a.term", "[one.title, document.querySelector(one.getAttribute('href')).nextSibling.textContent]")
    assert len(links) > 10
    assert [pair for pair in links if pair[0] != pair[1]] == []


@pytest.mark.parametrize("which", ["study", "other", "crowd"])
def test_paper_shows_everything(page: Page, which: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    report = request.getfixturevalue(which)
    page.size(1040, 735)  # A4 across without its margins, in CSS pixels
    page.media("print", "dark")
    page.open(report.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") == 1040
    assert max(page.each("table, img, svg", "one.getBoundingClientRect().right")) <= 1041, "nothing is cut"
    seen = "one.checkVisibility({contentVisibilityAuto: true}) && one.getBoundingClientRect().height > 1"
    assert all(page.each("tbody tr, svg, img", seen)), "everything is open"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    page.pdf(tmp_path / "report.pdf")
    printed = (tmp_path / "report.pdf").read_bytes()
    assert len(re.findall(rb"/Type\s*/Page\b", printed)) > 1
    pictures = len(re.findall(rb"/Subtype\s*/Image\b", printed))
    assert pictures >= page.evaluate("new Set([...document.images].map(one => one.src)).size")


def test_pictures_of_the_page_are_like_those_in_the_repository(page: Page, study: Path, tmp_path: Path) -> None:
    """Fonts differ between machines: the same size, something on it, and as bright or dark."""
    assert {path.stem for path in PICTURES.glob("*.png")} == {shot.name for shot in SHOTS}
    for shot, path in take(page, study, tmp_path):
        known = PICTURES / path.name
        assert known.stat().st_size <= LARGEST_PICTURE
        now, before = pixels(path), pixels(known)
        assert now.shape == before.shape == (shot.height, shot.width, 3)
        shares = np.unique(now.reshape(-1, 3), axis=0, return_counts=True)[1] / (now.size / 3)
        assert len(shares) > 50 and shares.max() < 0.97, f"{shot.name} is blank"
        assert abs(float(now.mean()) - float(before.mean())) < 25, f"{shot.name} is another picture"


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as opened_picture:
        return np.asarray(opened_picture.convert("RGB"))
