"""Wall clocks that jump change what people read, and nothing that is decided."""

from pathlib import Path

from test_attempt_monitor import JumpingClock
from toy_study import Toy, fingerprint, small_plan

from orchestrator.backends.fake.backend import Act
from orchestrator.schedule.ledger.database import Ledger


def test_durations_are_measured_by_a_clock_that_does_not_jump(tmp_path: Path) -> None:
    means = []
    for name, clock in (("calm", None), ("jumping", JumpingClock())):
        toy = Toy(tmp_path / name)
        toy.clock = clock or toy.clock
        assert toy.run(small_plan(), {"train/a": [Act(seconds=40.0)]}).counts == {"done": 9}
        with Ledger.read(toy.home / "ledger.sqlite") as ledger:
            means.append({one.fingerprint: round(one.seconds, 3) for one in ledger.durations()})
    assert means[0] == means[1]


class Set(JumpingClock):
    """Set back by `back` seconds, once for all."""

    back = 0.0

    def time(self) -> float:
        return self.monotonic() - self.back


def test_a_clock_that_was_set_back_a_year_between_two_runs_changes_no_order_and_no_charge(tmp_path: Path) -> None:
    toy, clock = Toy(tmp_path / "toy"), Set()
    toy.clock = clock
    acts = {"train/a": [Act(script="error"), Act(script="error")]}
    assert toy.run(small_plan(), acts).counts["failed"] == 1
    clock.back = 365 * 86400.0
    with toy.ledger() as ledger:
        ledger.reset_job(fingerprint("train/a"))
    assert toy.run(small_plan()).counts == {"done": 9}
    assert toy.endings("train/a") == ["error", "error", "ok"]
    with Ledger.read(toy.home / "ledger.sqlite") as ledger:
        names = [one.id[:4] for one in ledger.attempts(fingerprint("train/a"))]
        assert names == ["a001", "a002", "a003"]
        assert ledger.history()[fingerprint("train/a")].state == "done"
