"""`register`: what is asked is written down before the first evaluation, and the report tells what was changed."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from finished_study import finished_study

from orchestrator.cli import app
from orchestrator.commands.run.report import report_of
from orchestrator.crate.description import CrateDescription, read_description
from orchestrator.crate.layout import STUDY
from orchestrator.errors import CrateError, PlanError
from orchestrator.opening import open_study, plan_of_matrix
from orchestrator.plan.job import Plan
from orchestrator.plan.reported import report_spec
from orchestrator.reporting.collect import report_input
from orchestrator.reporting.registration.changes import changes, registration_of
from orchestrator.reporting.registration.content import content_of, source_of
from orchestrator.reporting.registration.file import Entry, read_registration, registration_file
from orchestrator.reporting.results_folder import read_results_folder, write_results_folder
from orchestrator.study import Study
from reports.findings import Answer, Material
from reports.page.registration import registration_part
from reports.spec import ReportSpec, SmallestEffect

Called = Callable[..., str]
MARGIN_DB = 0.5


def no_effect(_: Material) -> Answer:
    """Compares with the margin, by a helper."""
    return helper()


def helper() -> Answer:
    return Answer(effect=MARGIN_DB)  # a comment


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    """Planned, and nothing of it is done."""
    study = finished_study(tmp_path, monkeypatch)
    for job in study.plan.jobs.values():
        study.store.withdraw(job.fingerprint)
    for path in (study.home / "store" / "withdrawn").rglob("*"):
        if path.is_file():
            path.unlink()
    return open_study(Path("matrix.yaml"))


@pytest.fixture
def called(capsys: pytest.CaptureFixture[str]) -> Called:
    def call(*arguments: str) -> str:
        app(["register", *arguments], standalone_mode=False)
        return capsys.readouterr().out

    return call


def test_what_is_declared_is_written_once(study: Study, called: Called) -> None:
    text = called()
    assert "registered: 0 findings, 3 rows, 2 seeds, 2 branches, " in text
    assert "before the first evaluation" in text
    (entry,) = read_registration(study.home, "laptop")
    assert f"digest: {entry.digest}" in text
    assert (entry.evaluations, entry.previous) == (0, "")
    assert entry.content["seeds"] == [0, 1]
    assert entry.content["rows"]["mlp"]["width"] == 64
    before = registration_file(study.home, "laptop").read_bytes()
    with pytest.raises(
        PlanError, match=r"profile laptop is registered since .*; `--show` shows it, `--amend` adds"
    ) as error:
        called()
    assert error.value.exit_code == 2
    with pytest.raises(PlanError, match="nothing is declared otherwise than it is registered; nothing was written"):
        called("--amend")
    assert registration_file(study.home, "laptop").read_bytes() == before
    assert "unchanged since" in called("--show")


def test_an_amendment_keeps_what_was_before_and_says_what_changed(study: Study, called: Called) -> None:
    called()
    text = called("--amend", "seeds=[0,1,2]", "controls.training.rate=0.5")
    assert "  seeds: 2 added\n" in text and "  controls.training.rate 0.1 → 0.5\n" in text
    first, second = read_registration(study.home, "laptop")
    assert second.previous == first.digest
    found = json.loads(called("--show", "--json"))
    assert [one["digest"] for one in found["entries"]] == [first.digest, second.digest]
    assert found["changes"] == ["seeds: 2 removed", "controls.training.rate 0.5 → 0.1"]


def test_after_evaluations_only_late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, called: Called) -> None:
    study = finished_study(tmp_path, monkeypatch)
    with pytest.raises(PlanError, match=r"12 evaluations of this plan were done already, so this is no registration"):
        called()
    assert read_registration(study.home, "laptop") == []
    assert "after 12 evaluations were done" in called("--late")
    # Other settings give other evaluations, of which none is done; what was seen of the plan before counts still.
    called("--amend", "controls.training.rate=0.5")
    assert [one.evaluations for one in read_registration(study.home, "laptop")] == [12, 12]


def test_a_withdrawn_evaluation_was_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, called: Called) -> None:
    study = finished_study(tmp_path, monkeypatch)
    for job in study.plan.jobs.values():
        study.store.withdraw(job.fingerprint)
    with pytest.raises(PlanError, match="12 evaluations of this plan were done already"):
        called()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--show",), "nothing is registered of profile laptop; `echo-matrix register` does it, before the first"),
        (("--amend",), "nothing is registered of profile laptop; leave out --amend"),
        (("--show", "--amend"), "--show writes nothing; leave out --amend and --late"),
        (("--backend", "fake"), "the results of backend fake have no meaning; there is nothing to register"),
    ],
)
def test_what_cannot_be_is_refused(study: Study, called: Called, arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(PlanError, match=re.escape(message)):
        called(*arguments)


def test_an_edited_registration_is_refused(study: Study, called: Called) -> None:
    called()
    path = registration_file(study.home, "laptop")
    path.chmod(0o644)
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('"evaluations": 0', '"evaluations": 1'), encoding="utf-8")
    with pytest.raises(
        PlanError, match=r"registration-laptop\.json: entry 1: was edited: its digest is that of another"
    ):
        called("--show")
    path.write_text("{", encoding="utf-8")
    with pytest.raises(PlanError, match=r"not JSON.*bring back registration-laptop\.json as `register` wrote it"):
        called("--show")


def entry(content: Mapping[str, Any], evaluations: int = 0, previous: str = "") -> Entry:
    return Entry.made(at=1.8e9, commit="abc", evaluations=evaluations, previous=previous, content=content)


def plan_and_spec() -> tuple[Plan, ReportSpec]:
    plan = plan_of_matrix(Path(__file__).parents[2] / "matrix.yaml", "laptop", ())
    return plan, report_spec(plan.workload)


def test_registered_is_told_from_changed_and_explored() -> None:
    plan, spec = plan_and_spec()
    questions = (("A", "no effect", no_effect),)
    asked = SmallestEffect(
        finding="A", metric="return", pairs=(("spatial", "context-k1"),), effect=0.5, claim="equivalence"
    )
    declared = replace(spec, questions=lambda: questions, smallest_effects=(asked,))
    before = content_of(plan, declared)
    wider = replace(
        declared,
        questions=lambda: (*questions, ("B", "another", no_effect)),
        smallest_effects=(replace(asked, effect=1.0),),
        metrics={**spec.metrics, "fame": "Fame"},
    )
    assert changes(before, content_of(plan, wider)) == [
        "finding A: smallest effect: margin 0.5 → 1.0",
        "finding B added",
        "metrics of the tables: fame added",
    ]
    found = registration_of([entry(before)], plan, wider)
    assert found is not None
    assert found.findings == {"A": "changed", "B": "explored"}
    assert set(found.rows.values()) == {"registered"}
    assert "return/judge_gated" in found.metrics and "return/fame" not in found.metrics
    part = registration_part(found, Stub())  # type: ignore[arg-type]
    assert part is not None
    assert part.intro == f"Registered 2027-01-15 08:00 UTC at commit abc; digest {found.digest[:12]}."
    assert part.lines[:2] == [
        ("findings", "changed after they were registered", "A"),
        ("findings", "explored, not registered", "B"),
    ]
    assert part.lines[-1] == ("metrics", "explored, not registered", "return/fame")
    assert part.changes == [("in all, from the registration to this report", found.changes)]


class Stub:
    """What was measured: names alone."""

    means: Mapping[str, Mapping[str, float]] = {
        "return/judge_gated": {},
        "return/judge_gated@gap2": {},
        "return/fame": {},
    }


def test_late_registrations_and_amendments_register_nothing() -> None:
    plan, spec = plan_and_spec()
    now = content_of(plan, spec)
    late = registration_of([entry(now, evaluations=3)], plan, spec)
    assert late is not None and late.evaluations == 3
    assert {*late.findings.values(), *late.rows.values()} == {"explored"} and not late.metrics
    less = {**now, "rows": {name: row for name, row in now["rows"].items() if name != "ssm-place"}}
    first = entry(less)
    amended = registration_of([first, entry(now, evaluations=3, previous=first.digest)], plan, spec)
    assert amended is not None
    assert amended.rows["ssm-place"] == "explored" and amended.rows["spatial"] == "registered"
    assert [one.changes for one in amended.amendments] == [["row ssm-place added"]]
    assert amended.changes == ["row ssm-place added"]
    part = registration_part(amended, Stub())  # type: ignore[arg-type]
    assert part is not None
    assert part.changes[0] == ("amended 2027-01-15 08:00 UTC, 3 evaluations done by then", ["row ssm-place added"])


def test_a_test_counts_by_its_source_with_helpers_and_constants(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def written(name: str, text: str) -> tuple[str, dict[str, Any]]:
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
        monkeypatch.syspath_prepend(str(tmp_path))
        return source_of(__import__(name).asked)

    text = "LEVEL = 0.8\nOTHER = 1\n\ndef asked(x):\n    return helped(x) > LEVEL\n\ndef helped(x):\n    return x\n"
    digest, constants = written("questions_one", text)
    assert constants == {"LEVEL": 0.8}
    commented = text.replace("return x\n", '"""Help."""\n    # why\n    return x\n').replace("OTHER = 1", "OTHER = 2")
    assert written("questions_two", commented)[0] == digest
    assert written("questions_three", text.replace("0.8", "0.9")) != (digest, constants)
    assert written("questions_four", text.replace("return x\n", "return -x\n"))[0] != digest
    assert source_of(no_effect)[1] == {"MARGIN_DB": 0.5}
    assert source_of(lambda _: Answer(effect=None))[1] == {}


def test_the_report_a_folder_and_a_crate_have_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, called: Called
) -> None:
    study = finished_study(tmp_path, monkeypatch)
    called("--late")
    entries = study.registered
    given = report_input(study.plan, study.standings(), study.store, registered=entries)
    assert given.registration is not None and given.registration.evaluations == 12
    write_results_folder(tmp_path / "kept", given, study.plan, study.store.commits())
    assert read_results_folder(tmp_path / "kept", study.plan).registration == given.registration
    description = CrateDescription.of(study.plan, study.standings(), (), tuple(study.plan.jobs), entries)
    (tmp_path / "crate").mkdir()
    document = json.dumps(description.document)
    (tmp_path / "crate" / STUDY).write_text(document, encoding="utf-8")
    assert list(read_description(tmp_path / "crate").registered) == entries
    edited = document.replace('"evaluations": 12', '"evaluations": 0')
    (tmp_path / "crate" / STUDY).write_text(edited, encoding="utf-8")
    with pytest.raises(CrateError, match=r"study\.json: registered: entry 1: was edited"):
        read_description(tmp_path / "crate")


@pytest.mark.slow  # three reports are drawn
def test_a_report_is_made_again_once_something_is_registered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, called: Called
) -> None:
    study = finished_study(tmp_path, monkeypatch)
    assert report_of(study)
    numbers = study.report_folder / "report.json"
    assert json.loads(numbers.read_text(encoding="utf-8"))["registration"] is None
    called("--late")
    assert report_of(study) and not report_of(study)
    found = json.loads(numbers.read_text(encoding="utf-8"))["registration"]
    assert (found["evaluations"], found["rows"]["mlp"]) == (12, "explored")
    page = (study.report_folder / "index.html").read_text(encoding="utf-8")
    assert "Registered or explored" in page and "after 12 evaluations were done" in page
