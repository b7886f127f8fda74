"""Progress of a running job: metrics, heartbeat, and whether it has been asked to stop.

Rank 0 writes; the other ranks hold a `Progress` that writes nothing, so that stages need no
branches on rank.
"""

import contextlib
import json
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workloads.contract.metrics import METRIC_NAME, METRICS, MOST_VALUES
from workloads.contract.result import HEARTBEAT_S
from workloads.runtime.system_metrics import SystemSampler

TENTHS = 10  # log lines a phase
FIRST_BEAT_S = 1.0
"""Between heartbeats at the beginning, when people watch; grows to `HEARTBEAT_S`."""
BEAT_SHARE = 0.1
"""Between heartbeats, as a share of the time since the attempt began."""


@dataclass(frozen=True, kw_only=True)
class StageOutcome:
    """What a stage returns when it has completed, or has stopped at a checkpoint on request."""

    steps: int
    records: Mapping[str, Any] = field(default_factory=dict)
    cost: Mapping[str, float | None] = field(default_factory=dict)
    stopped: bool = False


class Progress:
    """Metrics and heartbeat of one attempt, in its work folder.

    Signal handlers only call `request_stop`; stages check `stopping` between steps.
    """

    def __init__(self, work: Path, *, writes: bool = True, sampler: SystemSampler | None = None) -> None:
        """`sampler`: its samples are written with the step that is computed then."""
        self._sampler = sampler
        self._samples: dict[str, float] = {}
        self._work = work
        self._writes = writes
        self._stopping = False
        self._ended = threading.Event()
        self._beat: dict[str, Any] = {"counter": 0, "step": 0, "of": 0, "phase": "starting"}
        self._logged = ("", -1)
        self._last: dict[str, float] = {}
        self._metrics = (work / METRICS).open("a", encoding="utf-8") if writes else None
        self._file = threading.Lock()  # the heartbeat thread flushes while the stage writes, closes and opens
        self._thread = threading.Thread(target=self._beat_until_end, name="heartbeat", daemon=True)
        if writes:
            self._thread.start()

    @property
    def stopping(self) -> bool:
        """Whether this attempt has been asked to save and stop."""
        return self._stopping

    def request_stop(self) -> None:
        """Ask the stage to stop at the next step boundary. Safe in a signal handler."""
        self._stopping = True

    def at(self, step: int, of: int, phase: str) -> None:
        """Set the position: `step` of `of` in `phase` (a word for people); logs each phase and each tenth of it."""
        step, of, phase = int(step), int(of), str(phase)  # NumPy's numbers are no JSON, and would end the heartbeat
        self._beat = {**self._beat, "step": step, "of": of, "phase": phase}
        now = (phase, step * TENTHS // of if of else 0)
        if self._writes and now != self._logged:
            self._logged = now
            last = self._last.get("loss")
            loss = "" if last is None else f", loss {last:.4f}" if abs(last) < 1e4 else f", loss {last:.3g}"
            print(f"{phase} {step}/{of}{loss}", flush=True)

    def metric(self, step: int, name: str, value: float) -> None:
        """Append one value; `name` without the stage (`loss`).

        Raises:
            ValueError: a name that the tracker does not take.
        """
        if not METRIC_NAME.fullmatch(name):
            raise ValueError(f"a metric is called {name!r}; allowed: letters, digits, '_-./ :'")
        step, value = int(step), value if type(value) is int else float(value)  # NumPy's numbers are no JSON
        self._last[name] = value
        if self._metrics is not None:
            samples, self._samples = self._samples, {}
            with self._file:
                for key, one in ((name, value), *samples.items()):
                    line = {"step": step, "name": key, "value": one, "wall": time.time()}
                    self._metrics.write(json.dumps(line) + "\n")

    def show(self, name: str, value: float) -> None:
        """Show a value in the log's next line without writing it: one that is not finite, which no file can hold."""
        self._last[name] = value

    def flush(self) -> int:
        """Sync metrics to disk; returns the file's length in bytes, which a checkpoint stores."""
        if self._metrics is None:
            return 0
        with self._file:
            self._metrics.flush()
            os.fsync(self._metrics.fileno())
            return self._metrics.tell()

    def copy_metrics(self, target: Path, length: int) -> None:
        """Copy the first `length` bytes of the metrics, for a checkpoint; only rank 0 has any."""
        if self._metrics is not None:
            _copy_head(Path(self._metrics.name), target, length)

    def carry_over(self, metrics: Path, length: int) -> None:
        """Start with the first `length` bytes of an earlier attempt's metrics, so that no step is doubled or missing.

        Readers see either none of them or all. Later lines of that attempt will be computed again. `wall` is kept:
        the time at which a step was first computed.
        """
        if self._metrics is None:
            return
        own = Path(self._metrics.name)
        temporary = own.with_name(f".{own.name}.tmp")
        _copy_head(metrics, temporary, length)
        with self._file:
            self._metrics.close()
            temporary.replace(own)
            self._metrics = own.open("a", encoding="utf-8")

    def close(self) -> None:
        """Write the last heartbeat and close the files."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()
        if self._metrics is not None:
            with self._file:
                self._metrics.close()

    def _beat_until_end(self) -> None:
        began = time.monotonic()
        while True:
            values = dict(list(dict(self._last).items())[:MOST_VALUES])  # a copy: the stage adds metrics meanwhile
            if self._sampler is not None:
                self._samples = self._sampler.sample() or self._samples
            self._beat = {**self._beat, "counter": self._beat["counter"] + 1, "values": values}
            temporary = self._work / ".heartbeat.json.tmp"
            # A full disk may have room at the next heartbeat; the stage reports its own failed writes.
            with contextlib.suppress(OSError):
                temporary.write_text(json.dumps(self._beat), encoding="utf-8")
                temporary.replace(self._work / "heartbeat.json")
                with self._file:
                    if self._metrics is not None and not self._metrics.closed:
                        self._metrics.flush()
            pause = min(HEARTBEAT_S, max(FIRST_BEAT_S, BEAT_SHARE * (time.monotonic() - began)))
            if self._ended.wait(pause):
                return


def _copy_head(source: Path, target: Path, length: int) -> None:
    """Copy the first `length` bytes of a file."""
    with source.open("rb") as read, target.open("wb") as write:
        left = length
        while left and (block := read.read(min(left, 1 << 20))):
            write.write(block)
            left -= len(block)
