"""`python -m orchestrator.backends.slurm.pilot FOLDER`: what srun starts on each node of an allocation."""

import sys
from pathlib import Path

from orchestrator.backends.slurm.pilot.mailbox import PACK
from orchestrator.backends.slurm.pilot.node_launcher import keep
from orchestrator.backends.slurm.pilot.node_resources import share_of
from workloads.contract.json_files import read_object


def main() -> int:
    """Keep a node, or be the agent that a keeper starts; returns the exit code."""
    folder = Path(sys.argv[1])
    if len(sys.argv) == 4 and sys.argv[2] == "--agent":
        from orchestrator.backends.slurm.pilot.agent import Agent  # imports ray, which a keeper does without

        Agent(folder, Path(sys.argv[3]), share_of(folder.name, read_object(folder / PACK))).run()
    return keep(folder)


if __name__ == "__main__":
    sys.exit(main())
