"""The contract of backends as a test class.

A subclass gives the fixture `stage`, a `Stage`: a backend with room for two attempts of one cpu,
ways to make submissions that end as wanted, and a way to let time pass. A real backend runs real
(toy) workloads; how it makes one fail or last is its own business.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import pytest

from orchestrator.backends.protocol import Adoption, Backend, Report, Submission
from orchestrator.errors import BackendError
from orchestrator.store.protocol import Store

Wanted = Literal["ok", "error", "bad_input", "out_of_memory", "long"]
"""`long` runs until it is stopped or killed, and saves when it is stopped."""


@dataclass
class Stage:
    """A backend, and what is needed to put it to the test."""

    backend: Backend
    store: Store
    submission: Callable[[Wanted], Submission]
    """A fresh submission, of a job of its own, that will end as wanted."""
    rest: Callable[[], None]
    """Let a little time pass."""
    successor: Callable[[], Backend] | None = None
    """Another driver's backend over the same cluster, for those that outlive drivers."""
    polls: int = 400
    """After how many rests an attempt must have ended."""

    def until(self, attempt: str, phase: str) -> Report:
        for _ in range(self.polls):
            report = self.backend.poll()[attempt]
            if report.phase == phase:
                return report
            assert report.phase != "ended", report
            self.rest()
        raise AssertionError(f"{attempt} is still {report.phase}, not {phase}")


class BackendContract:
    """What every backend promises (orchestrator/backends/protocol.py)."""

    def test_hosts_have_names_of_their_own_and_room(self, stage: Stage) -> None:
        hosts = stage.backend.hosts()
        assert len({host.name for host in hosts}) == len(hosts) > 0
        assert all(host.cpus >= 1 for host in hosts)

    def test_every_submission_gets_a_ticket_and_is_polled(self, stage: Stage) -> None:
        submissions = [stage.submission("ok"), stage.submission("ok")]
        tickets = stage.backend.submit(submissions)
        assert set(tickets) == {submission.attempt for submission in submissions}
        assert set(tickets) <= set(stage.backend.poll())

    def test_what_ended_well_is_published_before_poll_says_so(self, stage: Stage) -> None:
        submission = stage.submission("ok")
        stage.backend.submit([submission])
        report = stage.until(submission.attempt, "ended")
        assert report.ending == "ok", report
        assert stage.store.read(submission.request["fingerprint"]).attempt == submission.attempt

    @pytest.mark.parametrize("wanted", ["error", "bad_input", "out_of_memory"])
    def test_an_ending_is_told_as_it_was_and_publishes_nothing(self, stage: Stage, wanted: Wanted) -> None:
        submission = stage.submission(wanted)
        stage.backend.submit([submission])
        report = stage.until(submission.attempt, "ended")
        assert report.ending == wanted, report
        assert submission.request["fingerprint"] not in stage.store.commits()

    def test_an_ending_stays_what_it_was(self, stage: Stage) -> None:
        submission = stage.submission("error")
        stage.backend.submit([submission])
        first = stage.until(submission.attempt, "ended")
        stage.backend.kill([submission.attempt])
        stage.rest()
        assert stage.backend.poll()[submission.attempt].ending == first.ending

    def test_a_stopped_attempt_ends_as_interrupted(self, stage: Stage) -> None:
        submission = stage.submission("long")
        stage.backend.submit([submission])
        stage.until(submission.attempt, "running")
        stage.backend.stop([submission.attempt])
        assert stage.until(submission.attempt, "ended").ending == "interrupted"

    def test_a_killed_attempt_ends_as_interrupted(self, stage: Stage) -> None:
        submission = stage.submission("long")
        stage.backend.submit([submission])
        stage.until(submission.attempt, "running")
        stage.backend.kill([submission.attempt])
        assert stage.until(submission.attempt, "ended").ending == "interrupted"

    def test_an_attempt_ends_while_another_goes_on(self, stage: Stage) -> None:
        long, short = stage.submission("long"), stage.submission("ok")
        stage.backend.submit([long, short])
        assert stage.until(short.attempt, "ended").ending == "ok"
        assert stage.until(long.attempt, "running").ending is None

    def test_close_can_be_called_twice_and_nothing_is_started_after_it(self, stage: Stage) -> None:
        stage.backend.close()
        stage.backend.close()
        with pytest.raises(BackendError):
            stage.backend.submit([stage.submission("ok")])


class LastingBackendContract(BackendContract):
    """What a backend that outlives drivers promises beside; its stage has a `successor`."""

    def adopted(self, stage: Stage, submission: Submission) -> Backend:
        """Hand an attempt over to the next driver: the first lets go, the second takes it up."""
        tickets = stage.backend.submit([submission])
        stage.until(submission.attempt, "running")
        stage.backend.close()
        return succeed(stage, Adoption.of(submission, tickets[submission.attempt]))

    def test_an_attempt_goes_on_without_a_driver_and_the_next_one_stops_it(self, stage: Stage) -> None:
        submission = stage.submission("long")
        backend = self.adopted(stage, submission)
        assert backend.poll()[submission.attempt].phase == "running"
        backend.stop([submission.attempt])
        assert stage.until(submission.attempt, "ended").ending == "interrupted"

    def test_an_attempt_that_ended_between_two_drivers_is_told_to_the_second(self, stage: Stage) -> None:
        submission = stage.submission("ok")
        stage.backend.submit([submission])
        stage.until(submission.attempt, "ended")
        stage.backend.close()
        succeed(stage, Adoption.of(submission))
        report = stage.until(submission.attempt, "ended")
        assert report.ending == "ok", report

    def test_an_attempt_that_nobody_ever_submitted_is_missing(self, stage: Stage) -> None:
        submission = stage.submission("ok")
        stage.backend.close()
        succeed(stage, Adoption.of(submission))
        assert stage.backend.poll()[submission.attempt].phase == "missing"


def succeed(stage: Stage, adoption: Adoption) -> Backend:
    """Put the next driver's backend in the place of the last one's."""
    assert stage.successor is not None
    stage.backend = stage.successor()
    stage.backend.hosts()
    stage.backend.adopt([adoption])
    return stage.backend
