"""Small files of an attempt, a note, a request: torn, huge, nested or of other types, none ends its reader."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import StoreError
from orchestrator.host.checkpoints import is_complete
from orchestrator.host.endings import read_ended
from orchestrator.host.processes import end_leftovers, read_processes
from orchestrator.reporting.artifacts import lines_of
from orchestrator.schedule.control import channel
from orchestrator.schedule.driver_log import DriverLog
from orchestrator.schedule.ledger.database import Ledger
from orchestrator.schedule.ledger.rebuild import from_folders
from orchestrator.store.files import FilesStore
from orchestrator.tracking.mlflow.projection import branch_points, point_of
from workloads.contract.json_files import read_object
from workloads.contract.metrics import beat_of, case_of, metric_of, read_beat
from workloads.contract.request import read_request, request_from
from workloads.contract.result import Result, read_result

DEEP = b"[" * 200_000
NO_OBJECTS = (
    b"",
    b"{",
    b"[]",
    b"null",
    b"5",
    b'"text"',
    b"\xff\xfe",
    b"\0",
    DEEP,
    b"9" * 9999,
    b'{"a": 1}{"b": 2}',
    b"nan",
)


@pytest.mark.parametrize("content", NO_OBJECTS)
@pytest.mark.parametrize("read", [read_object, read_request, read_result])
def test_what_is_no_object_is_a_value_error_that_names_the_file(
    tmp_path: Path, read: Callable[[Path], Any], content: bytes
) -> None:
    path = tmp_path / "file.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(str(path))):
        read(path)


@pytest.mark.parametrize("read", [read_object, read_request, read_result])
def test_pipes_folders_and_terabytes_are_value_errors_at_once(tmp_path: Path, read: Callable[[Path], Any]) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "huge").touch()
    os.truncate(tmp_path / "huge", 1 << 40)
    for name, words in (("pipe", "not a regular file"), ("folder", "not a regular file"), ("huge", "has more than")):
        with pytest.raises(ValueError, match=words):
            read(tmp_path / name)


RESULT: dict[str, Any] = {
    "ending": "ok",
    "error": None,
    "steps": 3,
    "records": {},
    "cost": {"device_s": 1.5},
    "version": 1,
}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"ending": "fine"}, "ending is 'fine'; allowed: ok, error"),
        ({"ending": ["ok"]}, "ending is .* allowed: str"),
        ({"steps": "3"}, "steps is '3', str; allowed: int"),
        ({"steps": True}, "steps is 'True', bool; allowed: int"),
        ({"records": []}, "records is .* allowed: dict"),
        ({"records": {"versions": ["torch"]}}, "versions is .* allowed: dict"),
        ({"cost": {"device_s": [1]}}, r"device_s is '\[1\]', list; allowed: int or float or null"),
        ({"error": "it broke"}, "error is 'it broke', str; allowed: dict or null"),
        ({"error": {"type": "E", "message": 5, "frames": []}}, "message is '5', int; allowed: str"),
        ({"error": {"type": "E"}}, "missing 2 required"),
        ({"color": "red"}, "color"),
        ({"version": "1"}, "version is '1', this code reads 1"),
    ],
)
def test_a_result_of_other_types_is_refused(tmp_path: Path, fields: dict[str, Any], message: str) -> None:
    path = tmp_path / "result.json"
    path.write_text(json.dumps({**RESULT, **fields}), encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        read_result(path)


def test_a_result_is_read_as_it_was_written(tmp_path: Path) -> None:
    result = Result(ending="ok", error=None, steps=3, records={"versions": {"torch": "2"}}, cost={"flops": 1e12})
    result.write(tmp_path / "result.json")
    assert read_result(tmp_path / "result.json") == result


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"work": 5}, "work is '5', int; allowed: str"),
        ({"inputs": []}, "inputs is .* allowed: dict"),
        ({"execution": {"ranks": "two"}}, "here: execution: ranks is 'two', str; allowed: int"),
        ({"execution": {}, "rendezvous": {"port": "80"}}, "here: rendezvous: port is '80', str; allowed: int or null"),
        ({"execution": None}, "execution is 'None', NoneType; allowed: dict"),
        ({}, "'execution'"),
    ],
)
def test_a_request_of_other_types_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        request_from({"version": 1, **fields}, "here")


@pytest.mark.parametrize(
    "raw",
    [
        {"counter": [1], "step": "seven", "of": None, "phase": 5, "values": {"loss": None, "rate": 10**400}},
        {"step": -1, "of": 1e400, "phase": {"a": 1}},
        {"step": float("nan"), "of": True, "phase": None},
        {"step": 10**400, "of": {}, "phase": []},
        {},
    ],
)
def test_a_heartbeat_of_other_types_stands_at_no_step(raw: dict[str, Any]) -> None:
    assert beat_of(raw) == {"counter": None, "step": 0, "of": 0, "phase": "", "values": {}}


@pytest.mark.parametrize("content", NO_OBJECTS)
def test_a_heartbeat_that_cannot_be_read_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "heartbeat.json").write_bytes(content)
    assert read_beat(tmp_path) is None


NO_METRICS = (
    *NO_OBJECTS,
    b'{"step": 1, "name": "loss"}',
    b'{"step": "1", "name": "loss", "value": 1}',
    b'{"step": 1.5, "name": "loss", "value": 1}',
    b'{"step": NaN, "name": "loss", "value": 1}',
    b'{"step": Infinity, "name": "loss", "value": 1}',
    b'{"step": 1, "name": ["loss"], "value": 1}',
    b'{"step": 1, "name": "loss", "value": "0.5"}',
    b'{"step": 1, "name": "loss", "value": null}',
    b'{"step": 1, "name": "loss", "value": true}',
)


@pytest.mark.parametrize("line", NO_METRICS)
def test_what_is_no_line_of_metrics_is_none(line: bytes) -> None:
    assert metric_of(line) is None


def test_a_loss_that_is_not_finite_is_a_line_and_is_not_shown() -> None:
    lines = [
        metric_of(b'{"step": 1, "name": "loss", "value": NaN, "wall": 5}'),
        metric_of('{"step": 2, "name": "loss", "value": 1}'),
    ]
    points = [point_of("train", line) for line in lines if line]
    assert [None if point is None else point.step for point in points] == [None, 2]


CASE = {"case": "a/b/1", "metric": "psnr", "unit": "dB", "better": "high", "value": 20.5}


@pytest.mark.parametrize(
    "fields",
    [{"case": 1}, {"metric": None}, {"unit": []}, {"better": "more"}, {"value": "20"}, {"value": float("inf")}],
)
def test_what_is_no_line_of_cases_is_none(fields: dict[str, Any]) -> None:
    assert case_of(json.dumps({**CASE, **fields})) is None


def test_a_line_of_cases_loses_what_is_not_known() -> None:
    known = case_of(json.dumps({**CASE, "row": "another"}))
    assert known == CASE
    assert [point.value for point in branch_points("loop", [known], {})] == [20.5]


def test_a_broken_line_of_an_artifact_is_told_with_its_number(tmp_path: Path) -> None:
    path = tmp_path / "cases.jsonl"
    path.write_text(json.dumps(CASE) + "\n\n" + json.dumps(CASE)[:20] + "\n", encoding="utf-8")
    with pytest.raises(StoreError, match=r"cases\.jsonl:3: is not a line of cases\.jsonl: .*; `run --refresh JOB`"):
        list(lines_of(path, case_of))
    with path.open("wb") as file:
        file.truncate(1 << 40)  # one line without an end, sparse
    with pytest.raises(StoreError, match=r"cases\.jsonl:1: is not a line"):
        next(iter(lines_of(path, case_of)))


@pytest.mark.parametrize("content", [*NO_OBJECTS, b'{"verb": "rm", "jobs": []}', b'{"verb": "retry", "jobs": 5}'])
def test_what_is_no_note_is_put_aside_and_the_others_are_read(tmp_path: Path, content: bytes) -> None:
    channel.send(tmp_path, "retry", ["ab"])
    (tmp_path / "inbox" / "0.json").write_bytes(content)
    assert [note.jobs for note in channel.pending(tmp_path)] == [("ab",)]
    assert (tmp_path / "inbox" / "0.broken").exists()


def test_the_drivers_log_goes_on_in_a_new_file_and_never_holds_a_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ECHO_TEST_DEPLOY_KEY", 'planted "value" of a key')
    log = DriverLog(tmp_path / "driver.log", lambda: 0.0, largest=1000)
    for number in range(500):
        log.write("ended", number=number, detail='it said planted "value" of a key')
    log.close()
    files = sorted(tmp_path.iterdir())
    assert [path.name for path in files] == ["driver.log", "driver.log.1"]
    assert all(path.stat().st_size < 1100 for path in files)
    lines = [json.loads(line) for path in reversed(files) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [line["number"] for line in lines] == list(range(500 - len(lines), 500))
    assert {line["detail"] for line in lines} == {"it said ***"}


def test_a_pipe_or_a_folder_among_the_notes_holds_nobody_up(tmp_path: Path) -> None:
    channel.send(tmp_path, "retry", ["ab"])
    os.mkfifo(tmp_path / "inbox" / "0.json")
    (tmp_path / "inbox" / "1.json").mkdir()
    assert [note.jobs for note in channel.pending(tmp_path)] == [("ab",)]


NO_PROCESSES = (
    *NO_OBJECTS,
    b'{"host": 5, "boot_id": "x", "ranks": []}',
    b'{"host": "here", "boot_id": "x", "ranks": {"pid": 5}}',
    b'{"host": "here", "boot_id": "x", "ranks": [{"pid": "one", "start_time": 1}]}',
    b'{"host": "here", "boot_id": "x", "ranks": [{"pid": 1, "start_time": 1}]}',
    b'{"host": "here", "boot_id": "x", "ranks": [{"pid": -1, "start_time": 1}]}',
    b'{"host": "here", "boot_id": "x", "ranks": [[5, 5]]}',
)


@pytest.mark.parametrize("content", NO_PROCESSES)
def test_a_broken_process_json_names_nobody_who_could_be_killed(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "process.json").write_bytes(content)
    assert read_processes(tmp_path) == []
    assert end_leftovers(tmp_path)


@pytest.mark.parametrize(
    "content", [*NO_OBJECTS, b'{"attempt": "a", "ending": ["ok"]}', b'{"attempt": "a", "ending": "x"}']
)
def test_a_broken_word_of_the_host_counts_for_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "ended.json").write_bytes(content)
    assert read_ended(tmp_path, "a") is None


@pytest.mark.parametrize(
    "content", [*NO_OBJECTS, b'{"files": 5}', b'{"files": [5]}', b'{"files": [{"path": "\\u0000", "size": 1}]}']
)
def test_a_checkpoint_with_a_broken_manifest_is_not_complete(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "manifest.json").write_bytes(content)
    assert not is_complete(tmp_path)


def test_a_request_that_names_another_attempt_is_no_attempt_of_a_rebuilt_ledger(tmp_path: Path) -> None:
    fingerprint = "ab" * 32
    for folder, attempt in (("a001-x", "a001-x"), ("a002-y", "../../../outside"), ("a003-z", "a001-x")):
        work = tmp_path / "attempts" / fingerprint[:16] / folder
        work.mkdir(parents=True)
        request = {"fingerprint": fingerprint, "job": "data/abab", "attempt": attempt, "stage": "data"}
        (work / "request.json").write_text(json.dumps(request), encoding="utf-8")
    for number, content in enumerate(NO_OBJECTS):
        work = tmp_path / "attempts" / ("cd" * 8) / f"a{number:03d}"
        work.mkdir(parents=True)
        (work / "request.json").write_bytes(content)
    with Ledger.open(tmp_path / "ledger.sqlite", lambda: None) as ledger:
        from_folders(ledger, tmp_path, FilesStore(tmp_path / "store"))
        assert [attempt.id for attempt in ledger.attempts()] == ["a001-x"]
