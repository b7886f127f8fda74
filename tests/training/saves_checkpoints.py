"""One rank that trains a tiny model at ZeRO stages 1, 2 and 3 and lets DeepSpeed save it.

`python saves_checkpoints.py FOLDER meeting.json`: the checkpoints `stage-{s}`, the weights as they are in
`live-{s}.safetensors`.
"""

import json
import sys
from pathlib import Path

import torch
from mixed import saved
from safetensors.torch import save_file

from workloads.contract.request import Rendezvous


def main() -> None:
    """Save all stages."""
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    meeting = Rendezvous(**json.loads(Path(sys.argv[2]).read_text(encoding="utf-8")))
    for stage in (1, 2, 3):
        live = saved(folder / f"stage-{stage}", stage, meeting)
        if meeting.rank == 0:
            save_file(live, folder / f"live-{stage}.safetensors")


if __name__ == "__main__":
    main()
