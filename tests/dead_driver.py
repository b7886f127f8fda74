"""A driver that has died: what it left in `driver.json` names a process of this boot that is gone."""

import dataclasses
import subprocess
import sys

from orchestrator.schedule.lease_holder import LeaseHolder, this_process


def dead_driver() -> LeaseHolder:
    """The holder that such a file names."""
    child = subprocess.Popen([sys.executable, "-S", "-c", ""])
    child.wait()
    return dataclasses.replace(this_process(), pid=child.pid, start_time=1)
