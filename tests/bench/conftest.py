"""The bench uses the toy study of the tests; what it measured is build/bench.json when it ends."""

import json
import os
import sys
import time
from importlib import metadata
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path[:0] = [str(path) for path in (HERE, HERE.parent, HERE.parent / "model", HERE.parent / "tracking")]
MEASURED = HERE.parents[1] / "build" / "bench.json"
PEERS = ("ray", "submitit", "scikit-image", "diffusers", "torch")


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    """Write what was measured so far: hours may be lost otherwise."""
    from timing import SAID

    if SAID:
        MEASURED.parent.mkdir(exist_ok=True)
        about = {
            "date": time.strftime("%Y-%m-%d", time.gmtime()),
            "cores": len(os.sched_getaffinity(0)),
            "load": round(os.getloadavg()[1], 1),
            "versions": {name: metadata.version(name) for name in PEERS},
            "failed": item.session.testsfailed,
        }
        MEASURED.write_text(json.dumps({**about, "measured": SAID}, indent=1) + "\n", encoding="utf-8")
