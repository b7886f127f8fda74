"""Submissions of toy jobs, and waiting for their end."""

import hashlib
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from orchestrator.backends.plugin import BackendContext
from orchestrator.backends.protocol import Placement, Submission
from orchestrator.host.processes import start_time
from orchestrator.spec.cell import Resources
from orchestrator.store.location import StoreLocation

ROOT = Path(__file__).resolve().parents[2]
SERVER = (sys.executable, str(Path(__file__).with_name("toy_server.py")))
DO = {"ok": "write", "error": "fail", "bad_input": "refuse", "out_of_memory": "no memory", "long": "until asked"}
"""How an attempt is to end -> what its toy stage does."""


def toy_context(home: Path, **more: Any) -> BackendContext:
    """What a driver gives to a backend of toy jobs; `more` overrides fields."""
    given: dict[str, Any] = {"home": home, "store": StoreLocation(folder=str(home / "store")), "server": SERVER}
    return BackendContext(**{**given, **more})


def toy_submission(home: Path, do: str, *, ranks: int = 1, grace_s: float = 20.0, **more: Any) -> dict[str, Any]:
    """A submission of stage `data` that does one thing, as JSON; `more` overrides fields of resources or config."""
    attempt = f"{do.replace(' ', '-')}-{time.monotonic_ns()}"
    fingerprint = hashlib.sha256(attempt.encode()).hexdigest()
    data = {"do": do, **{key: value for key, value in more.items() if key in ("signal",)}}
    return {
        "attempt": attempt,
        "job": f"data/{fingerprint[:12]}",
        "label": "data",
        "request": {
            "version": 1,
            "job": f"data/{fingerprint[:12]}",
            "stage": "data",
            "branch": None,
            "fingerprint": fingerprint,
            "attempt": attempt,
            "config": {"data": data},
            "row": None,
            "seed": 5,
            "inputs": {},
            "out": "",
            "work": str(home / "attempts" / fingerprint[:16] / attempt),
            "resume": None,
            "execution": {
                "device": "cpu",
                "ranks": ranks,
                "threads": 1,
                "micro_batch": None,
                "accumulate": 1,
                "deepspeed": {},
                "checkpoint_every_s": 30.0,
                "keep": "weights",
                "grace_s": grace_s,
                "deterministic": True,
                "paths": {},
            },
            "rendezvous": {
                "world_size": ranks,
                "rank": 0,
                "local_rank": 0,
                "address": None,
                "port": None,
                "listen_fd": None,
            },
            "smoke": False,
            "workload": "toy_workload",
        },
        "inputs": {},
        "resources": {
            "cpus": ranks,
            "devices": 0,
            "memory_gib": more.get("memory_gib", 2.0),
            "minutes": more.get("minutes", 5.0),
        },
        "placement": {"host": "here", "cpus": ranks, "devices": ()},
    }


def wait_until(true: Callable[[], Any], what: str, within_s: float = 60.0) -> Any:
    """Poll until `true()` is, and return it; fails with `what` after a generous deadline."""
    deadline = time.monotonic() + within_s
    while not (answer := true()):
        assert time.monotonic() < deadline, f"waited {within_s} s in vain: {what}"
        time.sleep(0.02)
    return answer


def as_submission(raw: dict[str, Any], host: str) -> Submission:
    """A toy submission on a host, as the driver has it."""
    placement = Placement(host=host, cpus=raw["placement"]["cpus"], devices=())
    return Submission(**{**raw, "resources": Resources(**raw["resources"]), "placement": placement})


def family(pid: int) -> list[tuple[int, int]]:
    """All processes that descend from `pid`, as (pid, start time)."""
    found = [(child.pid, start_time(child.pid)) for child in psutil.Process(pid).children(recursive=True)]
    return [(child, started) for child, started in found if started is not None]
