"""A study on the fake backend by the real command line: each attempt takes as long as a test wants."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[2]
ECHO_MATRIX = Path(sys.executable).with_name("echo-matrix")
CLUSTER = """\
backend: fake
ray: {address: local, cpus: 4, devices: null, memory_gib: 64.0}
store: {kind: files}
tracking: {kind: none, uri: null}
retries: {error: 1, out_of_memory: 1, vanished: 3, free_in_a_row: 10}
pause_after: 3
grace_s: 20.0
idle_s: 60.0
unknown_s: 1800.0
checkpoint_every_s: 30.0
deepspeed: {}
deterministic: true
keep: weights
paths: {}
"""
FOR_EVER_S = 3600.0


@dataclass(frozen=True)
class Rehearsal:
    """A folder of outputs, and how it is asked."""

    folder: Path

    @property
    def home(self) -> Path:
        return self.folder / "echo-memory-rehearsal"

    def line(self, verb: str, *arguments: str) -> list[str]:
        cluster = self.folder / "fake.yaml"
        if not cluster.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            cluster.write_text(CLUSTER, encoding="utf-8")
        matrix = str(CHECKOUT / "matrix.yaml")
        return [str(ECHO_MATRIX), verb, "--matrix", matrix, "--cluster", str(cluster), *arguments]

    def environment(self, seconds: float) -> dict[str, str]:
        return {**os.environ, "ECHO_MATRIX_HOME": str(self.folder), "ECHO_MATRIX_FAKE_S": str(seconds)}

    def call(self, verb: str, *arguments: str, seconds: float = 0.0) -> Any:
        return subprocess.run(
            self.line(verb, *arguments), env=self.environment(seconds), capture_output=True, text=True, timeout=120
        )

    def start(self, verb: str, *arguments: str, seconds: float = 0.0, **streams: Any) -> "subprocess.Popen[Any]":
        return subprocess.Popen(
            self.line(verb, *arguments), env=self.environment(seconds), start_new_session=True, **streams
        )


def wait_for(condition: Callable[[], Any], what: str, limit_s: float = 60.0) -> Any:
    """The first true answer of `condition`."""
    end = time.monotonic() + limit_s
    while not (answer := condition()):
        assert time.monotonic() < end, what
        time.sleep(0.05)
    return answer
