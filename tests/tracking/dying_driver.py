"""A driver that tells MLflow of a running training and is killed: `python dying_driver.py HOME WORK`.

It says `told` once it has told all it knows, and then waits for its end.
"""

import sys
import time
from pathlib import Path

from made_plan import made_plan, standing

from orchestrator.tracking.mlflow import tracker as child
from orchestrator.tracking.protocol import JobChange


def main() -> None:
    """Follow the training in WORK until killed."""
    home, work = Path(sys.argv[1]), Path(sys.argv[2])
    plan = made_plan(alias=None)
    child.FOLLOW_S = 0.2
    tracker = child.MlflowTracker(home, plan, None)
    tracker.start()
    train = next(job.id for job in plan.jobs.values() if job.stage == "train")
    tracker.job_changed(JobChange(train, standing("running"), "a1", work))
    print(f"told {tracker.pid}", flush=True)
    while True:
        time.sleep(1)


if __name__ == "__main__":
    main()
