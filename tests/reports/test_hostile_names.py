"""Names and texts that are HTML, templates or formulas: the page shows them, and nothing runs."""

import csv
import dataclasses
import io
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from made_input import made_input

from reports.analysis import analyse
from reports.columns import columns
from reports.input import Excluded, JobDuration, Missing, Source
from reports.page.page import page
from reports.results_csv import results_csv
from reports.spec import ReportSpec

NAME = """<script>alert(1)<img src=x onerror=alert(1)>"'{{7*7}}&amp"""
TEXT = f"</style></script></svg></table>{NAME};"
"""What ends elements too; a name has neither a slash nor a semicolon, at which labels are split."""
NAMES = {"row", "name", "alias_of", "tables", "rows"}
KEPT = {"branch", "metric", "unit", "better", "family", "state", "verdict", "check", "basis", "path", "key", "spec"}
"""Fields whose names the report looks up."""
NEVER = {"script", "iframe", "object", "embed", "base", "foreignobject", "animate", "set"}
"""Elements that run or fetch; the page has none."""


def hostile(value: Any, name: str = "") -> Any:
    """`value` with a hostile text behind every text in it."""
    if name in KEPT:
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.replace(
            value, **{one.name: hostile(getattr(value, one.name), one.name) for one in dataclasses.fields(value)}
        )
    if isinstance(value, str):
        return value and value + (NAME if name in NAMES else TEXT)
    if isinstance(value, Mapping):
        its = name if name in NAMES else ""
        named = (hostile(key, its) if name in ("tables", "sections") else key for key in value)
        return {key: hostile(one, its or str(old)) for key, (old, one) in zip(named, value.items(), strict=True)}
    if isinstance(value, list | tuple):
        return [hostile(one, name if name in NAMES else "") for one in value]
    return value


class Elements(HTMLParser):
    """The elements, attributes and addresses of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {name: value or "" for name, value in attrs}))

    handle_startendtag = handle_starttag


@pytest.fixture(scope="module", params=["study", "generic"])
def text(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    given = made_input(tmp_path_factory.mktemp("strips"), missing_row="compress-length-r8")
    row = given.rows[0].name
    given = dataclasses.replace(
        given,
        missing=[*given.missing, Missing(row=row, seed=0, axes="", branch="loop", state="failed", reason="it broke")],
        excluded=[Excluded(row="left-out", seed=0, axes="", entry="exclude[0]: rows: x")],
        durations=[JobDuration(stage="train", branch="loop", estimated_s=1.0, basis="guess", measured_s=2.0)],
        notes=["a note"],
        sources=[
            Source(row=row, seed=0, axes="", stage="judge", branch="loop", job="j", fingerprint="f", run=run)
            for run in ("https://tracker", "javascript:alert(1)")
        ],
        spec=given.spec if request.param == "study" else ReportSpec(),
    )
    changed = hostile(given)
    return page(changed, analyse(changed))


def test_the_page_shows_hostile_texts_and_runs_none(text: str) -> None:
    elements = Elements()
    elements.feed(text)
    assert not [tag for tag, _ in elements.found if tag in NEVER]
    asking = [(tag, attributes.get("type", ""), "action" in attributes) for tag, attributes in elements.found]
    assert {one for one in asking if one[0] in ("form", "input", "button", "textarea", "select")} <= {
        ("form", "", False),
        ("input", "radio", False),
        ("button", "reset", False),
    }, "filters alone ask something, and send nothing"
    assert not [(tag, name) for tag, attributes in elements.found for name in attributes if name.startswith("on")]
    sources = [
        one[name] for _, one in elements.found for name in ("src", "href", "xlink:href", "action") if name in one
    ]
    assert not [
        one[:80] for one in sources if not one.startswith(("#", "data:", "results.csv", "report.json", "https://"))
    ]
    assert text.count("&lt;script&gt;alert(1)") > 20
    assert "{{7*7}}" in text


def test_the_page_forbids_scripts_and_addresses_to_whoever_shows_it(text: str) -> None:
    elements = Elements()
    elements.feed(text)
    policies = [one["content"] for tag, one in elements.found if one.get("http-equiv") == "Content-Security-Policy"]
    allowed = "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'"
    assert policies == [f"{allowed}; form-action 'none'; base-uri 'none'"]


@pytest.mark.parametrize("first", ["=", "+", "-", "@", "\t", "\r"])
def test_a_spreadsheet_reads_no_name_as_a_formula(first: str, tmp_path: Path) -> None:
    line = made_input(tmp_path).values[0]
    hostile_line = dataclasses.replace(line, case=f'{first}HYPERLINK("http://x","y")', value=-0.5)
    (read,) = list(csv.DictReader(io.StringIO(results_csv(columns([hostile_line])))))
    assert read["case"] == f"'{hostile_line.case}"
    assert read["value"] == "-0.5", "a number stays a number"
