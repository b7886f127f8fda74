"""`kill -9` of the driver leaves nothing of ours behind: every process dies with the one before it."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from toy_jobs import ROOT, family, wait_until

from orchestrator.backends.ray.socket_folder import socket_parent
from orchestrator.host.processes import is_alive, read_processes

SILENT_WITHIN_S = 10.0


def test_killing_the_driver_leaves_no_process_and_no_folder(tmp_path: Path) -> None:
    script = ROOT / "tests" / "host" / "toy_driver.py"
    driver = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path), "deaf"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert driver.stdout is not None
    said = json.loads(driver.stdout.readline())
    everything = family(driver.pid)
    ranks = read_processes(Path(said["work"]))
    folder = socket_parent() / said["ticket"].split("/")[0]
    assert ranks and set(ranks) <= set(everything)
    assert len(everything) > 5, "Ray, its host, the server and a rank"
    assert folder.is_dir()
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    wait_until(
        lambda: not any(is_alive(*process) for process in everything), "nothing of ours runs on", SILENT_WITHIN_S
    )
    wait_until(lambda: not folder.exists(), "the session's folder is removed", SILENT_WITHIN_S)
    assert said["heavy"] == [], "the driver imports nothing heavy"
