"""A report that other versions have written: what must still be equal, and what is said of the rest."""

import json
from pathlib import Path
from typing import Any

import pytest
from forging import change_json

from orchestrator.crate.description import read_description
from orchestrator.crate.findings import AuditCheck
from orchestrator.crate.layout import ENVIRONMENT, REPORT
from orchestrator.crate.remade_report import check_report, input_of, json_differences
from orchestrator.study import Study


@pytest.mark.parametrize(
    ("ours", "theirs", "found"),
    [
        ({"a": 1.0, "b": [1, None]}, {"a": 1.0 + 1e-12, "b": [1, None]}, []),
        ({"a": 1.0}, {"a": 1.001}, [(".a", "1.0", "1.001")]),
        ({"a": [1, 2]}, {"a": [1]}, [(".a[1]", "2", "absent")]),
        ({"a": True}, {"a": 1}, [(".a", "true", "1")]),
        ({"a": {"b": "x"}}, {"a": {"b": "y"}, "c": None}, [(".a.b", "x", "y"), (".c", "absent", "null")]),
    ],
)
def test_numbers_may_differ_in_their_last_digits_and_nothing_else(
    ours: Any, theirs: Any, found: list[tuple[str, str, str]]
) -> None:
    assert list(json_differences(ours, theirs)) == found


def checked(crate: Path, study: Study) -> AuditCheck:
    return check_report(crate, input_of(crate, study.plan, read_description(crate)))


def written_with(crate: Path, **versions: str) -> None:
    change_json(crate / ENVIRONMENT, lambda content: content["report"]["versions"].update(versions))


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


@pytest.mark.slow  # three reports
def test_a_page_may_be_drawn_otherwise_by_other_versions_alone(crate: Path, study: Study) -> None:
    change(crate / REPORT / "index.html", "</html>", "<!-- drawn otherwise --></html>")
    assert checked(crate, study).verdict == "differs"
    written_with(crate, matplotlib="3.0.0")
    found = checked(crate, study)
    assert found.verdict == "right" and found.says == "96 values; 2 of 3 files made again byte for byte"
    assert found.notes[0].startswith(
        "report/index.html has other bytes, as other versions may draw it: matplotlib 3.0.0"
    )

    numbers = json.loads((crate / REPORT / "report.json").read_text(encoding="utf-8"))
    change(crate / REPORT / "report.json", f'"study": "{numbers["study"]}"', '"study": "other"')
    change(crate / REPORT / "results.csv", "accuracy,share,high,0.7", "accuracy,share,high,0.9")
    found = checked(crate, study)
    assert found.unchecked[0].startswith("report/report.json is another: study digits here, other there; matplotlib")
    assert [one.where.partition(":")[0] for one in found.differences] == ["report/results.csv"]
