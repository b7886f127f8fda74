"""Use of this machine: processors, memory and accelerators, named as MLflow's page of system metrics expects.

Read from /proc (proc(5)), and from `nvidia-smi` where it is installed. Standard library only.
"""

import shutil
import subprocess
import time
from pathlib import Path

PREFIX = "system/"
EVERY_S = 10.0
"""Between two samples."""
TIMEOUT_S = 5.0
QUERY = ("--query-gpu=index,utilization.gpu,memory.used", "--format=csv,noheader,nounits")


class SystemSampler:
    """Samples at most every `EVERY_S`; what cannot be read is left out."""

    def __init__(self, proc: Path = Path("/proc"), program: str | None = None) -> None:
        """`program`: `nvidia-smi`; None: the one that is installed, if any."""
        self._proc = proc
        self._program = program or shutil.which("nvidia-smi")
        self._before = self._times()
        self._next = 0.0

    def sample(self) -> dict[str, float]:
        """Metric -> value; empty: it is too early."""
        now = time.monotonic()
        if now < self._next:
            return {}
        self._next = now + EVERY_S
        return self._processors() | self._memory() | self._accelerators()

    def _times(self) -> tuple[int, int]:
        """(busy, all) clock ticks of all processors since the machine started."""
        try:
            first = (self._proc / "stat").read_text(encoding="ascii").partition("\n")[0].split()
            ticks = [int(text) for text in first[1:9]]
            return sum(ticks) - sum(ticks[3:5]), sum(ticks)  # idle and iowait are not busy
        except (OSError, ValueError):
            return 0, 0

    def _processors(self) -> dict[str, float]:
        before, self._before = self._before, self._times()
        passed = self._before[1] - before[1]
        if passed <= 0:
            return {}
        return {f"{PREFIX}cpu_utilization_percentage": round(100.0 * (self._before[0] - before[0]) / passed, 1)}

    def _memory(self) -> dict[str, float]:
        try:
            lines = (self._proc / "meminfo").read_text(encoding="ascii").splitlines()
            kib = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines) if rest}
            total, used = kib["MemTotal"], kib["MemTotal"] - kib["MemAvailable"]
        except (OSError, ValueError, KeyError, IndexError):
            return {}
        return {
            f"{PREFIX}system_memory_usage_megabytes": round(used * 1024 / 1e6, 1),
            f"{PREFIX}system_memory_usage_percentage": round(100.0 * used / total, 1),
        }

    def _accelerators(self) -> dict[str, float]:
        if self._program is None:
            return {}
        found: dict[str, float] = {}
        try:
            done = subprocess.run([self._program, *QUERY], capture_output=True, text=True, timeout=TIMEOUT_S)
            for line in done.stdout.splitlines() if done.returncode == 0 else ():
                number, busy, mib = (part.strip() for part in line.split(","))
                found[f"{PREFIX}gpu_{int(number)}_utilization_percentage"] = float(busy)
                found[f"{PREFIX}gpu_{int(number)}_memory_usage_megabytes"] = round(float(mib) * 1.048576, 1)
        except (OSError, ValueError, subprocess.TimeoutExpired):
            return {}
        return found
