"""Of two tracking children of one folder the second waits for the first."""

import os
import threading
import time
from pathlib import Path

from orchestrator.tracking.mlflow.turns import is_overtaken, take_turn


def test_the_second_waits_until_the_first_has_ended(tmp_path: Path) -> None:
    log = tmp_path / "tracking.log"
    log.touch()
    first, taken = take_turn(log, lambda: 60.0), threading.Event()

    def second() -> None:
        os.close(take_turn(log, lambda: 60.0))
        taken.set()

    threading.Thread(target=second, daemon=True).start()
    assert not taken.wait(0.2)
    os.close(first)
    assert taken.wait(10.0)


def test_one_that_does_not_end_is_not_waited_for_without_end(tmp_path: Path) -> None:
    log = tmp_path / "tracking.log"
    log.touch()
    first = take_turn(log, lambda: 60.0)
    began = time.monotonic()
    os.close(take_turn(log, lambda: 0.2))
    assert time.monotonic() - began >= 0.2
    os.close(first)


def test_a_child_is_overtaken_by_a_later_controller_and_by_its_end_and_not_by_a_disk_that_fails(tmp_path: Path) -> None:
    unsent = tmp_path / "tracking.unsent"
    unsent.write_text("first", encoding="utf-8")
    assert not is_overtaken(unsent, "first")
    unsent.write_text("second", encoding="utf-8")
    assert is_overtaken(unsent, "first")
    unsent.unlink()
    assert is_overtaken(unsent, "first")
    unsent.mkdir()
    assert not is_overtaken(unsent, "first")
