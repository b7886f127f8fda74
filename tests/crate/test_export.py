"""`export`: one crate, the same bytes for the same results, with nothing of the machine in it."""

import json
import shutil
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from finished_study import finished_study

from orchestrator.crate.audit import audit_crate
from orchestrator.crate.description import CrateDescription
from orchestrator.crate.layout import METADATA, README, REPORT
from orchestrator.crate.listing import files_in, listing_of
from orchestrator.crate.metadata import PROFILES, CrateCredits
from orchestrator.crate.opening import opened_crate
from orchestrator.crate.writing import write_crate
from orchestrator.errors import CrateError, StoreError
from orchestrator.opening import open_study
from orchestrator.plan.job import Standing
from orchestrator.plan.select import find_job
from orchestrator.store.files import FilesStore
from orchestrator.study import Study
from reports.input import NUMBERS


@pytest.mark.slow  # a report
def test_a_zip_file_holds_what_the_folder_holds(
    crate: Path, study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(study.home.parents[1])
    target = tmp_path / "crate.zip"
    made = write_crate(study, target)
    assert (made.digest, made.done, made.jobs) == (listing_of(crate).digest, 19, 19)
    assert made.size == target.stat().st_size
    with opened_crate(target) as folder:
        assert files_in(folder) == files_in(crate)
    with zipfile.ZipFile(target) as archive:  # what RO-Crate calls a Dataset is an entry too
        folders = {f"{path.relative_to(crate)}/" for path in crate.rglob("*") if path.is_dir()}
        assert folders <= set(archive.namelist())


def test_it_is_small_and_holds_no_path_of_this_machine(crate: Path, study: Study) -> None:
    home = str(study.home.parents[1])
    for path in crate.rglob("*"):
        assert not path.is_file() or home.encode() not in path.read_bytes(), path
        assert path.name != "result.bin"  # data and weights are there by their digest
    assert sum(one.size for one in files_in(crate).values()) < 3 << 20
    assert "digits, profile laptop" in (crate / README).read_text(encoding="utf-8")
    assert sorted(path.name for path in (crate / REPORT).iterdir()) == ["index.html", "report.json", "results.csv"]


class CountingStore(FilesStore):
    """A store that records what is fetched of artifacts."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.fetched: list[str] = []

    def fetch_files(self, fingerprint: str, patterns: Sequence[str]) -> Path:
        self.fetched += patterns
        return super().fetch_files(fingerprint, patterns)


@pytest.mark.slow  # a report
def test_of_a_study_that_is_not_finished_only_values_are_fetched_and_what_is_missing_is_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = finished_study(tmp_path, monkeypatch, without=["evaluate/clean/mlp/s0"])
    counting = CountingStore(study.home / "store")
    study.__dict__["store"] = counting
    credits = CrateCredits(author="A. Researcher", license="https://creativecommons.org/licenses/by/4.0/")
    made = write_crate(study, tmp_path / "crate", credits=credits)
    assert set(counting.fetched) == {"cases.jsonl", "metrics.jsonl"}
    assert (made.done, made.jobs) == (18, 19)
    missing = json.loads((tmp_path / "crate" / "study.json").read_text(encoding="utf-8"))["missing"]
    assert [now["state"] for now in missing.values()] == ["new"]
    graph = json.loads((tmp_path / "crate" / METADATA).read_text(encoding="utf-8"))["@graph"]
    found = {entity["@id"]: entity for entity in graph}
    assert found["#author"] == {"@id": "#author", "@type": "Person", "name": "A. Researcher"}
    assert found["./"]["license"] == {"@id": "https://creativecommons.org/licenses/by/4.0/"}
    assert found["#run"]["agent"] == {"@id": "#author"}


def test_a_value_that_was_changed_in_the_store_is_not_exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = finished_study(tmp_path, monkeypatch)
    path = study.result_of(find_job(study.plan, "evaluate/clean/mlp/s0")) / "cases.jsonl"
    path.chmod(0o644)
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("0.7", "0.9", 1), encoding="utf-8")  # of the same size
    with pytest.raises(StoreError, match=r"cases.jsonl has sha256 .*; `run --refresh JOB` makes the artifact again"):
        write_crate(study, tmp_path / "crate.zip")
    assert not list(tmp_path.glob("*crate*"))


def test_a_job_that_ends_meanwhile_is_listed_as_missing(study: Study) -> None:
    standings = {job: Standing(state="done", reason="") for job in study.plan.jobs}
    first, *others = study.plan.jobs
    found = CrateDescription.of(study.plan, standings, [], others)
    assert found.missing == {first: Standing(state="running", reason="it ended while the crate was written")}


def test_what_is_there_is_never_overwritten(study: Study, tmp_path: Path) -> None:
    target = tmp_path / "crate.zip"
    target.write_text("mine", encoding="utf-8")
    with pytest.raises(CrateError, match="exists already; nothing was written"):
        write_crate(study, target)
    assert target.read_text(encoding="utf-8") == "mine"


def test_without_results_there_is_nothing_to_export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = finished_study(tmp_path, monkeypatch)
    shutil.rmtree(study.home / "store")
    with pytest.raises(CrateError, match="no job is done; `echo-matrix run` makes results"):
        write_crate(study, tmp_path / "crate")
    assert not (tmp_path / "crate").exists()


@pytest.fixture(scope="module")
def graph(exported: tuple[Study, Path]) -> Iterator[dict[str, dict[str, Any]]]:
    content = json.loads((exported[1] / METADATA).read_text(encoding="utf-8"))
    yield {entity["@id"]: entity for entity in content["@graph"]}


def ids(value: Any) -> list[str]:
    """Identifiers that a property refers to."""
    return [one["@id"] for one in (value if isinstance(value, list) else [value])]


def of_type(graph: dict[str, dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [one for one in graph.values() if kind in one["@type"]]


def test_the_metadata_follow_the_provenance_run_crate_profile(
    graph: dict[str, dict[str, Any]], exported: tuple[Study, Path]
) -> None:
    # The MUSTs of the profile; roc-validator was run by hand (docs/explanation/exercised.md).
    _, crate = exported
    root = graph["./"]
    assert ids(graph[METADATA]["about"]) == ["./"]
    assert ids(root["conformsTo"]) == list(PROFILES)
    assert root["datePublished"] == "1970-01-01" and root["license"].startswith("No licence is stated")
    workflow = graph[ids(root["mainEntity"])[0]]
    assert workflow["@type"] == ["File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"]
    steps, tools = ids(workflow["step"]), ids(workflow["hasPart"])
    assert [ids(graph[step]["workExample"])[0] for step in steps] == tools
    runs = {one["@id"]: one for one in of_type(graph, "CreateAction")}
    assert len(runs) == 19 + 1
    (organised,) = of_type(graph, "OrganizeAction")
    assert ids(graph[ids(organised["result"])[0]]["instrument"]) == [workflow["@id"]]
    controls = [graph[name] for name in ids(organised["object"])]
    assert len(controls) == 19
    for control in controls:
        (run,) = ids(control["object"])
        assert ids(graph[ids(control["instrument"])[0]]["workExample"]) == ids(runs[run]["instrument"])
    for name in [name for one in graph.values() for value in one.values() for name in referred(value)]:
        assert name in graph or name.startswith(("https://", "http://")), name
    files = {one["@id"] for one in of_type(graph, "File")}
    assert files == files_in(crate).keys()
    parts = {name for one in [root, *of_type(graph, "Dataset")] for name in ids(one.get("hasPart", []))}
    assert files <= parts


def referred(value: Any) -> list[str]:
    if isinstance(value, list):
        return [name for one in value for name in referred(one)]
    return [value["@id"]] if isinstance(value, dict) else []


@pytest.mark.slow  # two reports
def test_a_crate_has_the_rows_that_were_run_although_the_profile_does_not_have_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished = finished_study(tmp_path, monkeypatch)
    for job in finished.plan.jobs.values():
        if job.label.endswith(("/conv/s0", "/conv/s1")):
            finished.store.withdraw(job.fingerprint)
    text = finished.matrix.read_text(encoding="utf-8")
    finished.matrix.write_text(text.replace("  laptop:\n", "  laptop:\n    rows: [mlp]\n"), encoding="utf-8")
    study = open_study(finished.matrix)
    assert (study.plan.added, list(study.plan.outside)) == ({"linear": "results"}, ["conv"])
    write_crate(study, tmp_path / "crate")
    found = audit_crate(tmp_path / "crate", [finished.plan.workload_name])
    assert {check.name: check.verdict for check in found.checks if check.verdict != "right"} == {}
    assert found.anew is not None and found.anew.outside == study.plan.outside
    assert json.loads((tmp_path / "crate" / REPORT / NUMBERS).read_text(encoding="utf-8"))["outside"] == ["conv"]
