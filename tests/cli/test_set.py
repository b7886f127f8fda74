"""`--set` by the real command line: passed on to a background run, recorded, and remembered by later commands."""

import json

from rehearsal import Rehearsal

from orchestrator.schedule.ledger.database import NAME, Ledger

TRAIN = "train/context-k1/s0"


def checkpoint_every_s(rehearsal: Rehearsal, *options: str) -> float:
    done = rehearsal.call("explain", TRAIN, "--request", *options)
    assert done.returncode == 0, done.stderr
    return float(json.loads(done.stdout)["execution"]["checkpoint_every_s"])


def test_a_background_run_gets_it_and_later_commands_need_not_repeat_it(rehearsal: Rehearsal) -> None:
    options = ("--set", "checkpoint_every_s=7", "--set", "retries.error=4")
    done = rehearsal.call("run", "--detach", *options, "--rows", "context-k1", "--branches", "replay")
    assert done.returncode == 0, done.stderr
    rehearsal.call("status", "--watch")
    with Ledger.read(rehearsal.home / NAME) as ledger:
        last = ledger.last_plan()
    assert last is not None and last.selection["set"] == ["checkpoint_every_s=7", "retries.error=4"]
    assert checkpoint_every_s(rehearsal) == 7.0
    assert checkpoint_every_s(rehearsal, "--set", "checkpoint_every_s=8") == 8.0


def test_a_setting_that_cannot_be_ends_with_2_and_starts_nothing(rehearsal: Rehearsal) -> None:
    done = rehearsal.call("run", "--set", "grace=3")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("echo-matrix: --set: grace is unknown; did you mean 'grace_s'?; allowed: backend, ")
    assert not rehearsal.home.exists()
