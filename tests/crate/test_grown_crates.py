"""Crates of a study that has grown: rows trained before and later have read the same scenes in other artifacts."""

import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from forging import change_json, resign_files
from grown_study import LARGE, SMALL, finish
from recorded_run import write_matrix

from orchestrator.crate.audit import audit_crate, audit_records
from orchestrator.crate.description import read_description, read_plan
from orchestrator.crate.layout import METADATA, PLAN, commit_path
from orchestrator.crate.writing import write_crate
from orchestrator.opening import HOME_VARIABLE, open_study
from orchestrator.plan.job import Job
from orchestrator.plan.select import find_job
from orchestrator.reporting.artifacts import ArtifactReader
from orchestrator.reporting.certificate import certificate
from orchestrator.study import Study

pytestmark = pytest.mark.slow  # a crate is written

BEFORE, LATER = "context-k1", "context-k5"
BOTH = f"{BEFORE},{LATER}"
EVALUATE = f"evaluate/return/{BEFORE}/s0"


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Study]:
    """One row was done when the study was small, another is of the large one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(HOME_VARIABLE, raising=False)
        matrix = write_matrix(tmp_path_factory.mktemp("project") / "matrix.yaml")
        small = open_study(matrix, overrides=SMALL)
        finish(small.plan, small.store, BEFORE)
        large = open_study(matrix, overrides=LARGE)
        finish(large.plan, large.store, BOTH)
        yield large


@pytest.fixture(scope="module")
def written(grown: Study, tmp_path_factory: pytest.TempPathFactory) -> Path:
    crate = tmp_path_factory.mktemp("crates") / "crate"
    write_crate(grown, crate)
    return crate


@pytest.fixture
def crate(written: Path, tmp_path: Path) -> Path:
    """A copy, to be changed."""
    shutil.copytree(written, tmp_path / "crate")
    return tmp_path / "crate"


def job(study: Study, label: str) -> Job:
    return find_job(study.plan, label)


def wrong(crate: Path) -> dict[str, list[str]]:
    """Name of each check of records that is not right -> what it says."""
    checks = audit_records(crate, read_plan(crate), read_description(crate))[2]
    return {
        check.name: [
            *(f"{one.where}: expected {one.expected}, found {one.found}; {one.means}" for one in check.differences),
            *check.unchecked,
        ]
        for check in checks
        if check.verdict != "right"
    }


def verdicts_of(study: Study) -> dict[str, Mapping[str, Any]]:
    return {line["check"]: line for line in certificate(ArtifactReader(study.plan, study.store)).verdicts}


def test_rows_trained_before_and_after_have_read_the_same(grown: Study) -> None:
    reads = [grown.store.read(job(grown, f"train/{row}/s0").fingerprint).inputs["latents"] for row in (BEFORE, LATER)]
    assert reads[0] != reads[1]
    found = verdicts_of(grown)
    assert found["inputs"]["verdict"] == "held"
    assert found["items of evaluate/return"]["verdict"] == "open", "other rows have no result yet"


def test_what_was_made_again_between_them_is_violated(grown: Study, tmp_path: Path) -> None:
    """The latents of the large study were made anew, and not taken over: scenes were encoded twice."""
    shutil.copytree(grown.matrix.parent, tmp_path / "project")
    study = open_study(tmp_path / "project" / "matrix.yaml", overrides=LARGE)
    latents = job(study, "latents").fingerprint
    record = Path(study.store.locate_record(latents))
    record.chmod(0o644)
    change_json(record, lambda content: content.update(origins={}, taken={}))
    found = verdicts_of(study)["inputs"]
    assert found["verdict"] == "violated" and f"{LATER}/s0" in found["cells"]
    assert re.search(rf"latents {latents[:12]} \(\S+-0000 and \d+ more\) was read as ", found["detail"])


def test_a_row_with_other_cases_than_its_plan_gives_it_is_violated(grown: Study, tmp_path: Path) -> None:
    shutil.copytree(grown.matrix.parent, tmp_path / "project")
    study = open_study(tmp_path / "project" / "matrix.yaml", overrides=LARGE)
    record = Path(study.store.locate_record(job(study, EVALUATE).fingerprint))
    record.chmod(0o644)
    change_json(record, drop_an_item)
    assert verdicts_of(study)["items of evaluate/return"]["cells"] == list(job(study, EVALUATE).cells)


def test_a_crate_of_a_grown_study_is_right(written: Path, grown: Study) -> None:
    found = audit_crate(written)
    said = {check.name: [*check.differences, *check.unchecked] for check in found.checks}
    assert said == {check.name: [] for check in found.checks}
    says = {check.name: check.says for check in found.checks}["commit records"]
    assert f"; {len(found.commits)} of {len(grown.plan.jobs)} jobs done" in says
    evaluated = grown.store.read(job(grown, EVALUATE).fingerprint)
    metadata = json.loads((written / METADATA).read_text(encoding="utf-8"))
    graph = {entity["@id"]: entity for entity in metadata["@graph"]}
    ((fingerprint, manifest),) = evaluated.taken.items()
    assert fingerprint in graph[f"#earlier-{manifest}"]["description"]
    read = [one["@id"] for one in graph[f"#job-{evaluated.job}"]["object"]]
    assert f"#earlier-{manifest}" in read and set(read) - graph.keys() == set()


def drop_an_item(record: dict[str, Any]) -> None:
    name = min(record["items"])
    del record["items"][name]
    record["origins"].pop(name, None)


def change_content(record: dict[str, Any]) -> None:
    record["items"]["train-0000"] = "0" * 32


def made_elsewhere(record: dict[str, Any]) -> None:
    record["origins"]["train-0000"] = "0" * 64


def read_another(record: dict[str, Any]) -> None:
    record["inputs"]["latents"]["fingerprint"] = "0" * 64


def measured_otherwise(record: dict[str, Any]) -> None:
    record["measured"] = "0" * 64


CHAIN = "chain of inputs"
BEFORE_GROWTH = "latents of the small study"


@pytest.mark.parametrize(
    ("of", "change", "checks", "said"),
    [
        ("latents", made_elsewhere, [CHAIN], r"what it read of latents, train-0000: expected made in"),
        (BEFORE_GROWTH, change_content, [CHAIN], r"train-0000: expected content .* found content 0000"),
        (
            f"train/{BEFORE}/s0",
            read_another,
            ["commit records", CHAIN],
            r"what it read of latents: expected .* found 0000",
        ),
        (EVALUATE, drop_an_item, ["commit records"], r"open-00-0/0: expected 20 items, found 19 items"),
        (EVALUATE, measured_otherwise, ["commit records"], r"what they were measured with: expected 20 items"),
    ],
)
def test_a_changed_record_is_found(
    crate: Path, grown: Study, of: str, change: Callable[[Any], None], checks: list[str], said: str
) -> None:
    change_json(crate / record_of(grown, of), change)
    resign_files(crate)
    found = wrong(crate)
    assert list(found) == checks
    assert re.search(said, found[checks[-1]][0])


def record_of(study: Study, label: str) -> str:
    """The place of a commit record in the crate."""
    if label != BEFORE_GROWTH:
        return commit_path(job(study, label).fingerprint)
    return commit_path(study.store.read(job(study, f"train/{BEFORE}/s0").fingerprint).inputs["latents"]["fingerprint"])


def test_without_the_record_of_what_was_read_the_chain_is_open(crate: Path, grown: Study) -> None:
    (crate / record_of(grown, BEFORE_GROWTH)).unlink()
    (line,) = wrong(crate)["chain of inputs"]
    assert line.startswith(f"train/{BEFORE}/s0: what it read of latents: the crate has no commit record of latents")


def test_a_record_that_no_job_has_read_is_found(crate: Path, grown: Study) -> None:
    text = (crate / record_of(grown, BEFORE_GROWTH)).read_text(encoding="utf-8")
    fingerprint = json.loads(text)["fingerprint"]
    (crate / commit_path("0" * 64)).write_text(text.replace(fingerprint, "0" * 64), encoding="utf-8")
    assert "expected a job of the plan, found latents, in no plan" in wrong(crate)["commit records"][0]


def test_an_item_with_another_content_does_not_fit_what_it_reads(crate: Path, grown: Study) -> None:
    content = (job(grown, EVALUATE).items or {})["worlds/open-00-0/0"]
    text = (crate / PLAN).read_text(encoding="utf-8")
    (crate / PLAN).write_text(text.replace(content, "0" * 32), encoding="utf-8")
    found = wrong(crate)["fingerprints"]
    assert any("item worlds/open-00-0/0 is 00000000" in line for line in found)
