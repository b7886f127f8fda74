"""The contract suite of backends: tests that every backend must pass.

Whoever writes a backend subclasses it and gives the fixture `case`:

    from orchestrator.testing.backends import BackendContract, BackendUnderTest

    class TestMyBackend(BackendContract):
        @pytest.fixture
        def case(self, tmp_path: Path) -> BackendUnderTest:
            store = FilesStore(tmp_path / "store")
            return BackendUnderTest(
                backend=MyBackend(...),
                store=store,
                submission=lambda wanted: ...,  # a job of its own that ends as wanted
                rest=lambda: time.sleep(0.1),
            )

The backend has room for two attempts of one cpu. A real backend runs real (toy) workloads; how it makes
one fail or last is its own business. A backend that outlives drivers subclasses `LastingBackendContract`
and gives a `successor`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import pytest

from orchestrator.backends.protocol import Adoption, Backend, HostShare, JobQueue, Report, Submission
from orchestrator.errors import BackendError
from orchestrator.schedule.placement import targets
from orchestrator.store.protocol import Store

WantedEnding = Literal["ok", "error", "bad_input", "out_of_memory", "long"]
"""`long` runs until it is stopped or killed, and saves when it is stopped."""


@dataclass
class BackendUnderTest:
    """A backend, and what its tests need."""

    backend: Backend
    store: Store
    submission: Callable[[WantedEnding], Submission]
    """A fresh submission, of a job of its own, that will end as wanted."""
    rest: Callable[[], None]
    """Let a little time pass."""
    successor: Callable[[], Backend] | None = None
    """Another driver's backend over the same cluster, for those that outlive drivers."""
    polls: int = 400
    """After how many rests an attempt must have ended."""

    def until(self, attempt: str, phase: str) -> Report:
        """Poll until an attempt has reached a phase."""
        for _ in range(self.polls):
            report = self.backend.poll()[attempt]
            if report.phase == phase:
                return report
            assert report.phase != "ended", report
            self.rest()
        raise AssertionError(f"{attempt} is still {report.phase}, not {phase}")


class BackendContract:
    """What every backend promises (orchestrator/backends/protocol.py)."""

    def test_hosts_have_names_of_their_own_and_room(self, case: BackendUnderTest) -> None:
        """Hosts with processors, queues with slots."""
        found = targets(case.backend)
        assert len({one.name for one in found}) == len(found) > 0
        assert all(one.cpus >= 1 for one in found if isinstance(one, HostShare))
        assert all(one.slots >= 1 for one in found if isinstance(one, JobQueue))

    def test_every_submission_gets_a_ticket_and_is_polled(self, case: BackendUnderTest) -> None:
        """Every submission gets a ticket and is polled."""
        submissions = [case.submission("ok"), case.submission("ok")]
        tickets = case.backend.submit(submissions)
        assert set(tickets) == {submission.attempt for submission in submissions}
        assert set(tickets) <= set(case.backend.poll())

    def test_what_ended_well_is_published_before_poll_says_so(self, case: BackendUnderTest) -> None:
        """What ended well is published before poll says so."""
        submission = case.submission("ok")
        case.backend.submit([submission])
        report = case.until(submission.attempt, "ended")
        assert report.ending == "ok", report
        assert case.store.read(submission.request["fingerprint"]).attempt == submission.attempt

    @pytest.mark.parametrize("wanted", ["error", "bad_input", "out_of_memory"])
    def test_an_ending_is_told_as_it_was_and_publishes_nothing(
        self, case: BackendUnderTest, wanted: WantedEnding
    ) -> None:
        """An ending is told as it was and publishes nothing."""
        submission = case.submission(wanted)
        case.backend.submit([submission])
        report = case.until(submission.attempt, "ended")
        assert report.ending == wanted, report
        assert submission.request["fingerprint"] not in case.store.commits()

    def test_an_ending_stays_what_it_was(self, case: BackendUnderTest) -> None:
        """An ending stays what it was."""
        submission = case.submission("error")
        case.backend.submit([submission])
        first = case.until(submission.attempt, "ended")
        case.backend.kill([submission.attempt])
        case.rest()
        assert case.backend.poll()[submission.attempt].ending == first.ending

    def test_a_stopped_attempt_ends_as_interrupted(self, case: BackendUnderTest) -> None:
        """A stopped attempt ends as interrupted."""
        submission = case.submission("long")
        case.backend.submit([submission])
        case.until(submission.attempt, "running")
        case.backend.stop([submission.attempt])
        assert case.until(submission.attempt, "ended").ending == "interrupted"

    def test_a_killed_attempt_ends_as_interrupted(self, case: BackendUnderTest) -> None:
        """A killed attempt ends as interrupted."""
        submission = case.submission("long")
        case.backend.submit([submission])
        case.until(submission.attempt, "running")
        case.backend.kill([submission.attempt])
        assert case.until(submission.attempt, "ended").ending == "interrupted"

    def test_an_attempt_ends_while_another_goes_on(self, case: BackendUnderTest) -> None:
        """An attempt ends while another goes on."""
        long, short = case.submission("long"), case.submission("ok")
        case.backend.submit([long, short])
        assert case.until(short.attempt, "ended").ending == "ok"
        assert case.until(long.attempt, "running").ending is None

    def test_close_can_be_called_twice_and_nothing_is_started_after_it(self, case: BackendUnderTest) -> None:
        """Close can be called twice and nothing is started after it."""
        case.backend.close()
        case.backend.close()
        with pytest.raises(BackendError):
            case.backend.submit([case.submission("ok")])


class LastingBackendContract(BackendContract):
    """What a backend that outlives drivers promises as well; its `case` has a `successor`."""

    def adopted(self, case: BackendUnderTest, submission: Submission) -> Backend:
        """Hand an attempt over to the next driver: the first lets go, the second takes it up."""
        tickets = case.backend.submit([submission])
        case.until(submission.attempt, "running")
        case.backend.close()
        return succeed(case, Adoption.of(submission, tickets[submission.attempt]))

    def test_an_attempt_goes_on_without_a_driver_and_the_next_one_stops_it(self, case: BackendUnderTest) -> None:
        """An attempt goes on without a driver and the next one stops it."""
        submission = case.submission("long")
        backend = self.adopted(case, submission)
        assert backend.poll()[submission.attempt].phase == "running"
        backend.stop([submission.attempt])
        assert case.until(submission.attempt, "ended").ending == "interrupted"

    def test_an_attempt_that_ended_between_two_drivers_is_told_to_the_second(self, case: BackendUnderTest) -> None:
        """An attempt that ended between two drivers is told to the second."""
        submission = case.submission("ok")
        case.backend.submit([submission])
        case.until(submission.attempt, "ended")
        case.backend.close()
        succeed(case, Adoption.of(submission))
        report = case.until(submission.attempt, "ended")
        assert report.ending == "ok", report

    def test_an_attempt_that_nobody_ever_submitted_is_missing(self, case: BackendUnderTest) -> None:
        """An attempt that nobody ever submitted is missing."""
        submission = case.submission("ok")
        case.backend.close()
        succeed(case, Adoption.of(submission))
        assert case.backend.poll()[submission.attempt].phase == "missing"


def succeed(case: BackendUnderTest, adoption: Adoption) -> Backend:
    """Put the next driver's backend in the place of the last one's."""
    assert case.successor is not None
    case.backend = case.successor()
    targets(case.backend)
    case.backend.adopt([adoption])
    return case.backend
