"""A driver of toy jobs over two hosts, in a process of its own: `gang_driver.py ADDRESS HOME`.

For the line `meet LEFT RIGHT` it submits a job whose ranks hold together, and says its folder when they have met; for
`watch` it says its report when it has ended; `kill` ends it.
"""

import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from toy_jobs import as_submission, toy_context, toy_submission, wait_until

from orchestrator.backends.protocol import Placement, Submission
from orchestrator.backends.ray.client import RayBackend
from orchestrator.backends.ray.settings import RaySettings

WITHIN_S = 200.0


def meet(backend: RayBackend, home: Path, names: Sequence[str]) -> Submission:
    """Submit a job of a rank on each of two hosts, once these are there; returns when the ranks have met."""
    wait_until(lambda: {one.name for one in backend.hosts()} >= set(names), f"{names} are there", WITHIN_S)
    raw = as_submission(toy_submission(home, "hold together until asked", ranks=2, grace_s=60.0), names[0])
    parts = [Placement(host=name, cpus=1, devices=()) for name in names]
    submission = dataclasses.replace(raw, placement=dataclasses.replace(parts[0], others=tuple(parts[1:])))
    backend.submit([submission])
    work = Path(submission.request["work"])
    wait_until(lambda: all((work / f"here-{rank}").exists() for rank in (0, 1)), "the ranks meet", WITHIN_S)
    return submission


def main(address: str, home: Path) -> None:
    """Serve until standard input is closed."""
    backend, attempt = RayBackend(toy_context(home), RaySettings(address=address)), ""
    for line in sys.stdin:
        verb, *names = line.split()
        if verb == "meet":
            submission = meet(backend, home, names)
            attempt = submission.attempt
            print(json.dumps({"work": submission.request["work"]}), flush=True)
        elif verb == "watch":
            wait_until(lambda name=attempt: backend.poll()[name].phase == "ended", f"{attempt} ends", WITHIN_S)
            print(json.dumps(dataclasses.asdict(backend.poll()[attempt])), flush=True)
        elif verb == "kill":
            backend.kill([attempt])
    backend.close()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
