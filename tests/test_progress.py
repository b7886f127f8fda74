"""What a running job tells, beside its metrics and heartbeat."""

from pathlib import Path

import pytest

from workloads.progress import Progress


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


def test_other_ranks_say_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(tmp_path, writes=False)
    progress.at(1, 2, "training")
    progress.close()
    assert capsys.readouterr().out == ""
    assert not list(tmp_path.iterdir())
