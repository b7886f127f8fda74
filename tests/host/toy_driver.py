"""A driver that tests can kill: it runs one toy job on Ray, says so as JSON, and waits for its input to close."""

import json
import sys
from pathlib import Path

from toy_jobs import as_submission, toy_context, toy_submission, wait_until

from orchestrator.backends.ray.client import RayBackend
from orchestrator.backends.ray.settings import RaySettings


def main() -> None:
    """Take the home folder and what to do from the command line."""
    home = Path(sys.argv[1])
    backend = RayBackend(toy_context(home), RaySettings())
    raw = toy_submission(home, sys.argv[2])
    submission = as_submission(raw, backend.hosts()[0].name)
    tickets = backend.submit([submission])
    work = Path(raw["request"]["work"])
    wait_until(lambda: (work / "here-0").exists() or backend.poll()[submission.attempt].phase == "ended", "it began")
    heavy = sorted({"ray", "torch", "mlflow", "boto3", "numpy", "scipy"} & set(sys.modules))
    said = {"work": str(work), "ticket": tickets[submission.attempt], "heavy": heavy}
    print(json.dumps(said), flush=True)
    sys.stdin.read()
    backend.close()


if __name__ == "__main__":
    main()
