"""What a running job tells, beside its metrics and heartbeat."""

import json
import time
from pathlib import Path

import pytest

from orchestrator.tracking.mlflow.projection import Point, point_of
from workloads.contract.metrics import beat_of, read_beat
from workloads.runtime.progress import Progress
from workloads.runtime.system_metrics import SystemSampler


def test_a_log_has_a_line_a_tenth_with_the_latest_loss(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(tmp_path)
    for step in range(1, 101):
        progress.metric(step, "loss", 1.0 / step)
        progress.at(step, 100, "training")
    progress.close()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "training 1/100, loss 1.0000"
    assert lines[-1] == "training 100/100, loss 0.0100"
    assert len(lines) == 11


def test_heartbeats_carry_the_latest_metrics_and_come_often_at_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workloads.runtime.progress.FIRST_BEAT_S", 0.01)
    progress = Progress(tmp_path)
    progress.metric(1, "loss", 0.5)
    progress.metric(2, "loss", 0.25)
    progress.at(2, 400, "training")
    deadline = time.monotonic() + 30
    while (read_beat(tmp_path) or {}).get("step") != 2:
        assert time.monotonic() < deadline, "no heartbeat after the first"
        time.sleep(0.005)
    progress.close()
    beat = read_beat(tmp_path)
    assert beat is not None
    assert (beat["phase"], beat["of"], beat["values"]) == ("training", 400, {"loss": 0.25})


@pytest.mark.parametrize("values", [None, 3, [1.0], {"loss": "low"}, {"loss": True}])
def test_a_heartbeat_without_valid_values_has_none(values: object) -> None:
    beat = beat_of({"counter": 1, "step": 1, "of": 2, "phase": "x", "values": values})
    assert beat is not None
    assert beat["values"] == {}


def test_other_ranks_say_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(tmp_path, writes=False)
    progress.at(1, 2, "training")
    progress.close()
    assert capsys.readouterr().out == ""
    assert not list(tmp_path.iterdir())


def lines(steps: range) -> bytes:
    return b"".join(b'{"step": %d, "name": "loss", "value": 0.5, "wall": 1.0}\n' % step for step in steps)


def test_the_beginning_of_an_earlier_attempts_metrics_is_carried_over_and_written_on(tmp_path: Path) -> None:
    (tmp_path / "earlier.jsonl").write_bytes(lines(range(1, 8)) + b'{"step": 8, "na')
    (tmp_path / "work").mkdir()
    progress = Progress(tmp_path / "work")
    progress.carry_over(tmp_path / "earlier.jsonl", len(lines(range(1, 5))))
    metrics = tmp_path / "work" / "metrics.jsonl"
    assert metrics.read_bytes() == lines(range(1, 5))
    progress.metric(5, "loss", 0.25)
    assert progress.flush() == metrics.stat().st_size
    progress.close()
    assert metrics.read_bytes().startswith(lines(range(1, 5)) + b'{"step": 5, "name": "loss", "value": 0.25')
    assert sorted(path.name for path in (tmp_path / "work").iterdir()) == ["heartbeat.json", "metrics.jsonl"]


def test_what_follows_the_file_sees_none_or_all_of_what_is_carried_over(tmp_path: Path) -> None:
    (tmp_path / "earlier.jsonl").write_bytes(lines(range(1, 8)))
    (tmp_path / "work").mkdir()
    progress = Progress(tmp_path / "work")
    with (tmp_path / "work" / "metrics.jsonl").open("rb") as follower:  # opened before: it keeps the empty file
        progress.carry_over(tmp_path / "earlier.jsonl", len(lines(range(1, 5))))
        assert follower.read() == b""
    progress.close()


def test_the_heartbeat_outlives_a_disk_that_takes_nothing_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workloads.runtime.progress.HEARTBEAT_S", 0.01)
    (tmp_path / ".heartbeat.json.tmp").mkdir()  # nothing can be written under this name
    progress = Progress(tmp_path)
    time.sleep(0.1)
    assert not (tmp_path / "heartbeat.json").exists()
    (tmp_path / ".heartbeat.json.tmp").rmdir()
    deadline = time.monotonic() + 30
    while not (tmp_path / "heartbeat.json").exists():
        assert time.monotonic() < deadline, "no heartbeat came back"
        time.sleep(0.01)
    progress.close()


def test_system_metrics_are_those_of_proc_and_nvidia_smi(tmp_path: Path) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho '0, 97, 1000'\n")
    program.chmod(0o755)
    (tmp_path / "meminfo").write_text("MemTotal:  1000000 kB\nMemFree: 1 kB\nMemAvailable:  250000 kB\n")
    (tmp_path / "stat").write_text("cpu  10 0 10 70 10 0 0 0 0 0\ncpu0 1 2\n")
    sampler = SystemSampler(tmp_path, str(program))
    (tmp_path / "stat").write_text("cpu  25 0 20 140 15 0 0 0 0 0\ncpu0 1 2\n")
    assert sampler.sample() == {
        "system/cpu_utilization_percentage": 25.0,
        "system/system_memory_usage_megabytes": 768.0,
        "system/system_memory_usage_percentage": 75.0,
        "system/gpu_0_utilization_percentage": 97.0,
        "system/gpu_0_memory_usage_megabytes": 1048.6,
    }
    assert sampler.sample() == {}, "the next one is not due"
    assert SystemSampler(tmp_path / "elsewhere", str(tmp_path / "none")).sample() == {}


def test_a_sample_is_written_with_the_step_that_is_computed_then(tmp_path: Path) -> None:
    class Sampler(SystemSampler):
        def sample(self) -> dict[str, float]:
            return {"system/cpu_utilization_percentage": 50.0}

    progress = Progress(tmp_path, sampler=Sampler())
    deadline = time.monotonic() + 30
    while read_beat(tmp_path) is None:
        assert time.monotonic() < deadline, "no heartbeat"
        time.sleep(0.005)
    progress.metric(7, "loss", 0.5)
    progress.close()
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [(one["step"], one["name"]) for one in lines] == [(7, "loss"), (7, "system/cpu_utilization_percentage")]
    assert point_of("train", lines[1]) == Point(name="system/cpu_utilization_percentage", step=7, value=50.0)
