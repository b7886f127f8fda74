"""An attempt that made the COMMIT ended well, whatever its host said or could not say afterwards."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from toy_study import Toy, fingerprint, small_plan

from orchestrator.backends.fake.backend import FakeBackend
from orchestrator.backends.protocol import Report


class HostDiesAfterCommit(FakeBackend):
    """Its attempts publish; then the host dies before it can say so."""

    def poll(self) -> Mapping[str, Report]:
        return {
            attempt: replace(report, ending="node_lost", detail="the host died") if report.ending == "ok" else report
            for attempt, report in super().poll().items()
        }


def test_what_has_committed_is_booked_as_ok_and_is_no_mark_against_its_host(tmp_path: Path) -> None:
    toy = Toy(tmp_path)
    toy.backend_type = HostDiesAfterCommit
    outcome = toy.run(small_plan())
    assert outcome.exit_code == 0
    for job in small_plan().jobs.values():
        assert toy.endings(job.label) == ["ok"], job.label
        assert toy.store.read(fingerprint(job.label)).attempt
