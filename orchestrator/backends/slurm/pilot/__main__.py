"""`python -m orchestrator.backends.slurm.pilot FOLDER`: what srun starts on each node of a pilot job."""

import sys
from pathlib import Path

from orchestrator.backends.slurm.pilot.mailbox import DESCRIPTION
from orchestrator.backends.slurm.pilot.node_launcher import launch_node, node_resources
from orchestrator.host.masked_stream import MaskedStream
from workloads.contract.json_files import read_object


def main() -> int:
    """Be the node launcher, or the agent that it starts; returns the exit code."""
    folder = Path(sys.argv[1])
    if len(sys.argv) == 4 and sys.argv[2] == "--agent":
        from orchestrator.backends.slurm.pilot.agent import Agent  # imports ray, which the launcher does without

        Agent(folder, Path(sys.argv[3]), node_resources(folder.name, read_object(folder / DESCRIPTION))).run()
    return launch_node(folder)


if __name__ == "__main__":
    sys.stdout, sys.stderr = MaskedStream(sys.stdout), MaskedStream(sys.stderr)  # files of SLURM
    sys.exit(main())
