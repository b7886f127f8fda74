"""The guard of one embedded Ray session: `python -m orchestrator.backends.ray.guard FOLDER`.

Most of Ray dies with the process that started it, but its two agents stay for a minute and more.
The guard waits until its standard input closes, which only its owner holds open, then ends what is
left. It imports the standard library alone and leads a session of its own.
"""

import signal
import subprocess
import sys
import time
from pathlib import Path

from orchestrator.backends.ray.session import end_session
from orchestrator.host.children import python_command

OWNER_ENDS_WITHIN_S = 8.0  # an owner in its orderly end has closed the pipe, but lives


def start_guard(folder: Path) -> "subprocess.Popen[bytes]":
    """Start the guard of the calling process; its input must stay open as long as the session is wanted."""
    return subprocess.Popen(
        python_command("orchestrator.backends.ray.guard", str(folder)),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def main() -> int:
    """Wait for the owner's end, and end what it leaves."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # it ends by itself, after its owner
    folder = Path(sys.argv[1])
    sys.stdin.buffer.read()
    deadline = time.monotonic() + OWNER_ENDS_WITHIN_S
    end_session(folder)
    while folder.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
        end_session(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
