"""A training over two nodes of a real SLURM, put back into the queue on the way, has the bits of two ranks on one.

What needs one node runs in a pilot job beside it.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from slurm_site import CHAOS, Site

sys.path.insert(0, str(CHAOS))

from two_rank_training import CHECKPOINTS, ON_ONE, ended_well, published, start, trainings

from orchestrator.backends.slurm.core.backend import QUEUE
from orchestrator.schedule.ledger.database import NAME, Ledger

Wait = Callable[[Callable[[], bool], str], None]

PILOT = "{cpus: 2, memory_gib: 4.5, minutes: 30, allocations: 1}"
ON_TWO = f"backend: slurm\nslurm: {{stages: {{train: {{nodes: 2}}}}, pilot: {PILOT}, poll_s: 1.0}}\n"
ROW = "ssm-blockwise"


@pytest.mark.long  # a minute
def test_two_nodes_train_what_two_ranks_on_one_node_train_and_a_requeue_changes_nothing(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wait_until: Wait
) -> None:
    monkeypatch.setenv("SLURM_CONF", site.environment["SLURM_CONF"])
    one, two = tmp_path / "one", tmp_path / "two"
    on_two = start(two, ON_TWO, row=ROW, zero_stage=1)

    def job() -> str:
        lines = site.call("squeue", "--noheader", "--states=RUNNING", "--format=%i %j %N").splitlines()
        return next((line.split()[0] for line in lines if ":train/" in line and line.endswith("n[1-2]")), "")

    def saved() -> bool:
        return any(two.glob(CHECKPOINTS))

    wait_until(lambda: bool(job()) and saved(), "a checkpoint of the training on two nodes")
    number = job()
    site.call("scontrol", "requeue", number)
    wait_until(lambda: site.call("squeue", "--noheader", "--format=%T", "--jobs", number) == "PENDING", "the requeue")
    site.call("scontrol", "update", f"JobId={number}", "StartTime=now")  # SLURM itself would let it wait two minutes
    ended_well(on_two)
    ended_well(start(one, ON_ONE, row=ROW, zero_stage=1))
    assert published(two) == published(one) and len(published(one)) == 5
    assert (two / "echo-memory/report/results.csv").read_bytes() == (
        one / "echo-memory/report/results.csv"
    ).read_bytes()
    (first, second) = trainings(two)
    assert (first.ending, second.ending, first.begun) == ("preempted", "ok", -1)
    assert second.id == f"{first.id}.r1" and second.begun > 0
    logs = sorted(path.name for path in two.glob(f"echo-memory/attempts/*/{second.id}/log*.txt"))
    assert logs == ["log-n1.txt", "log.txt"]
    with Ledger.read(two / "echo-memory" / NAME) as ledger:
        assert {attempt.stage for attempt in ledger.attempts() if attempt.host == QUEUE} == {"train"}
