"""A driver that holds the host itself, and trains by two ranks on a CPU with ZeRO 1: `node_driver.py`.

Home and cluster file are those of the environment: `$ECHO_MATRIX_HOME/cluster.yaml`.

The real loop, ledger, lease, host, warm server and training; only Ray is not there, whose start would take longer than
all that is killed here.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from small_study import CHECKOUT, SMALL

from orchestrator.backends.protocol import Adoption, HostShare, Report, Submission
from orchestrator.host import stored_checkpoints
from orchestrator.host.node import Node
from orchestrator.host.publish import Provenance
from orchestrator.opening import open_study
from orchestrator.schedule.ledger.database import NAME, Ledger
from orchestrator.schedule.ledger.rebuild import rebuilder
from orchestrator.schedule.run import run
from orchestrator.schedule.shared_lease import acquire_study
from orchestrator.store.protocol import Store
from orchestrator.ui.progress import PlainView

ROW = "ssm-blockwise"
TWO_RANKS = ("resources.train.ranks=2", "resources.train.cpus=2", "resources.train.memory_gib=6")


class NodeBackend:
    """One host in this process."""

    name = "node"
    outlives_driver = False

    def __init__(self, store: Store) -> None:
        provenance = Provenance(code="c" * 64, git="", host_kind="test")
        self._node = Node(store=store, code=CHECKOUT, provenance=provenance)
        self._reports: dict[str, Report] = {}

    def hosts(self) -> Sequence[HostShare]:
        """The one that this process is."""
        return (HostShare(name="here", cpus=2, devices=0, memory_gib=16.0),)

    def submit(self, submissions: Sequence[Submission]) -> Mapping[str, str]:
        """Hand over to the node."""
        for one in submissions:
            self._node.start(asdict(one))
        return {one.attempt: one.attempt for one in submissions}

    def adopt(self, attempts: Sequence[Adoption]) -> None:
        """Nothing outlives this process."""
        raise AssertionError(attempts)

    def poll(self) -> Mapping[str, Report]:
        """As the node says."""
        self._reports.update({name: Report(**told) for name, told in self._node.poll().items()})
        return dict(self._reports)

    def stop(self, attempts: Sequence[str]) -> None:
        """Ask."""
        self._node.stop(attempts)

    def kill(self, attempts: Sequence[str]) -> None:
        """End at once."""
        self._node.kill(attempts)

    def close(self) -> None:
        """End everything."""
        self._node.close()


def main(home: Path) -> int:
    """One run of the row's training and what it needs."""
    stored_checkpoints.LOOK_S /= 10  # the training is that much shorter than others
    study = open_study(CHECKOUT / "matrix.yaml", overrides=(*SMALL, *TWO_RANKS), cluster=home / "cluster.yaml")
    selected = [job.id for job in study.plan.jobs.values() if job.label == f"train/{ROW}/s0"]
    with (
        acquire_study(study.home, study.store.objects) as lease,
        Ledger.open(study.home / NAME, lease.check, rebuild=rebuilder(study.home, study.store)) as ledger,
    ):
        outcome = run(
            study.plan,
            selected,
            home=study.home,
            store=study.store,
            ledger=ledger,
            backend_factory=lambda: NodeBackend(study.store),
            cluster=study.cluster,
            view=PlainView(sys.stdout),
        )
    if not outcome.submitted and outcome.exit_code == 0:
        print("nothing to do")
    return outcome.exit_code


if __name__ == "__main__":
    sys.exit(main(Path(os.environ["ECHO_MATRIX_HOME"])))
