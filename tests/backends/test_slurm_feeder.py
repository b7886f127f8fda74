"""What sbatch does not take now waits, is tried again less and less often, and fails no job."""

import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

from orchestrator.backends.plugin import BackendContext
from orchestrator.backends.protocol import Adoption, Placement, Submission
from orchestrator.backends.slurm.core.backend import JobBackend
from orchestrator.backends.slurm.core.brake import FIRST_S, GIVE_UP_S, LONGEST_S, Brake
from orchestrator.backends.slurm.core.feeder import Feeder
from orchestrator.backends.slurm.core.queue import SlurmQueue
from orchestrator.backends.slurm.core.states import JobState
from orchestrator.backends.slurm.core.submit import SiteFull
from orchestrator.backends.slurm.preflight.site import Site as SlurmSite
from orchestrator.backends.slurm.settings import SlurmSettings
from orchestrator.errors import BackendError
from orchestrator.spec.cell import Resources
from orchestrator.store.location import StoreLocation


def attempt(name: str, stage: str = "train") -> Submission:
    return Submission(
        attempt=name,
        job=f"{stage}/{name}",
        label=f"{stage}/{name}",
        request={"stage": stage},
        inputs={},
        resources=Resources(cpus=1, devices=0, memory_gib=1.0, minutes=30),
        placement=Placement(host="slurm", cpus=1, devices=()),
    )


class Sbatch:
    """Takes jobs, or refuses them with what it is told."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.answer: dict[str, BackendError | str] = {}
        """Stage -> why it takes none of it; words: nobody knows."""
        self.held: dict[str, str] = {}
        self.returned: dict[str, str] = {}
        self.feeder = Feeder(
            self.submit,
            lambda one, why: self.held.update({one.attempt: why}),
            lambda one, why: self.returned.update({one.attempt: why}),
        )

    def submit(self, group: Sequence[Submission]) -> str:
        self.calls.append([one.attempt for one in group])
        answer = self.answer.get(str(group[0].request["stage"]), "")
        if isinstance(answer, BackendError):
            raise answer
        return answer

    def retry(self, now: float, in_queue: int = 0) -> int:
        """Calls of sbatch that came of it."""
        before = len(self.calls)
        self.feeder.retry(one_group, now, in_queue=in_queue)
        return len(self.calls) - before


def one_group(submissions: Sequence[Submission]) -> Iterable[Sequence[Submission]]:
    return [submissions]


@pytest.fixture
def sbatch() -> Sbatch:
    return Sbatch()


def test_each_failure_in_a_row_doubles_the_pause_up_to_a_bound() -> None:
    brake, now, pauses = Brake(), 0.0, []
    for _ in range(8):
        brake.failed(now, "full", refused=False)
        pauses.append(next(s for s in range(10_000) if not brake.holds(now + s)))
        now += pauses[-1]
    assert pauses[:3] == [FIRST_S, 2 * FIRST_S, 4 * FIRST_S] and pauses[-1] == LONGEST_S
    brake.taken()
    assert not brake.holds(now) and brake.why == "" and not brake.given_up(now)


def test_a_full_queue_is_tried_again_when_a_job_has_left_it_and_else_after_a_pause(sbatch: Sbatch) -> None:
    sbatch.answer["train"] = SiteFull("sbatch refused em:x: AssocGrpSubmitJobsLimit")
    sbatch.feeder.feed([[attempt("a"), attempt("b")]], 0.0)
    assert sbatch.calls == [["a", "b"], ["a"]] and set(sbatch.held) == {"a", "b"}
    sbatch.feeder.note_in_queue(5)
    assert [sbatch.retry(now, in_queue=5) for now in (1.0, FIRST_S - 1)] == [0, 0]
    assert sbatch.retry(2.0, in_queue=4) == 2  # one has left
    assert sbatch.retry(3.0, in_queue=4) == 0
    del sbatch.answer["train"]
    assert sbatch.retry(3.0 + FIRST_S, in_queue=4) == 1 and sbatch.feeder.held == []
    assert sbatch.feeder.trouble == "" and sbatch.returned == {}


def test_what_is_wrong_with_one_stage_holds_back_no_other_and_is_said_in_the_same_words(sbatch: Sbatch) -> None:
    sbatch.answer["train"] = BackendError("sbatch refused em:x: Invalid qos specification")
    sbatch.feeder.feed([[attempt("a"), attempt("b")], [attempt("c")], [attempt("d", "judge")]], 0.0)
    assert sbatch.calls == [["a", "b"], ["d"]]
    said = sbatch.feeder.trouble
    assert said == (
        "sbatch takes no jobs of stage train now (Invalid qos specification): they wait, and are submitted again, "
        "less often the longer this lasts"
    )
    assert sbatch.retry(FIRST_S) == 1 and sbatch.feeder.trouble == said
    assert sbatch.retry(FIRST_S + 1, in_queue=-1) == 0, "a job that leaves the queue changes nothing of it"


def test_refusals_that_have_nothing_to_do_with_the_queue_are_given_back_in_the_end(sbatch: Sbatch) -> None:
    sbatch.answer["train"] = BackendError("sbatch refused em:x: Invalid qos specification")
    sbatch.feeder.feed([[attempt("a"), attempt("b")]], 0.0)
    now, calls = 0.0, 0
    while not sbatch.returned and now < 2 * GIVE_UP_S + LONGEST_S:
        now += 10.0
        calls += sbatch.retry(now)
    assert now >= GIVE_UP_S and calls < 10
    assert sbatch.returned == dict.fromkeys("ab", "sbatch refused em:x: Invalid qos specification")


def test_a_slurmctld_that_does_not_answer_sbatch_holds_back_all_stages(sbatch: Sbatch) -> None:
    sbatch.answer["train"] = "sbatch got no answer for em:x: none within 60 s"
    sbatch.feeder.feed([[attempt("a")], [attempt("b")], [attempt("c", "judge")]], 0.0)
    assert sbatch.calls == [["a"]] and set(sbatch.held) == {"b", "c"}
    assert sbatch.feeder.trouble.startswith("sbatch takes no jobs now (slurmctld does not answer: none within 60 s): ")
    sbatch.answer.clear()
    assert sbatch.retry(FIRST_S) == 1 and sbatch.feeder.trouble == ""


@pytest.mark.parametrize(
    ("states", "slots"),
    [
        ([], 3),
        (["PENDING", "PENDING"], 3),  # those that it holds count
        (["RUNNING", "PENDING", "PENDING"], 4),
        (["RUNNING", "COMPLETED", "PENDING"], 5),
        (["PENDING JobArrayTaskLimit"] * 4, 7),  # they wait for others of their array, and not for SLURM
        (["RUNNING"] * 30, 20),  # max_jobs
    ],
)
def test_a_queue_takes_so_many_attempts_that_at_most_max_waiting_wait(
    tmp_path: Path, states: list[str], slots: int
) -> None:
    queue = SlurmQueue(1000.0)
    queue.asked = time.monotonic()  # not asked again
    context = BackendContext(home=tmp_path, store=StoreLocation(folder=""), code_digest="c")
    backend = JobBackend(context, SlurmSettings(max_jobs=20, max_waiting=3), queue)
    backend._site = SlurmSite(array_size=100, submit=1000.0, partitions={})
    place = Placement(host="slurm", cpus=1, devices=())
    backend.adopt(
        [
            Adoption(attempt=f"a{n}", ticket=f"{n}", job="j", label="l", work=str(tmp_path / f"a{n}"), placement=place)
            for n in range(len(states))
        ]
    )
    listed = {}
    for n, words in enumerate(states):
        state, _, reason = words.partition(" ")
        listed[f"{n}"] = JobState(job=f"{n}", state=state, reason=reason)
    queue._states = listed
    assert [one.slots for one in backend.queues()] == [slots]


def test_held_attempts_can_be_withdrawn(sbatch: Sbatch) -> None:
    sbatch.feeder.feed([[attempt("a"), attempt("b")]], 0.0, silent="squeue failed")
    assert sbatch.calls == [] and sbatch.held == dict.fromkeys("ab", "squeue failed")
    assert [one.attempt for one in sbatch.feeder.withdraw({"a", "z"})] == ["a"]
    assert [one.attempt for one in sbatch.feeder.held] == ["b"]
