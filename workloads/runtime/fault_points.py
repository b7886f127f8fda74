"""Fault points: named places in the code where a test kills the process or makes the disk fail.

Nothing happens unless the environment variable `ECHO_MATRIX_FAULTS` names a folder. A test arms a
point by writing a file of that name there. The first process to reach the point renames the file to
`{name}.fired` and does what it contains: `kill` ends the process by SIGKILL, the name of an errno
(`ENOSPC`, `EIO`) is raised as OSError. All names are in `POINTS`, so that the suite can show that
each was reached.
"""

import errno
import os
import signal
from collections.abc import Mapping
from pathlib import Path

VARIABLE = "ECHO_MATRIX_FAULTS"

POINTS: Mapping[str, str] = {
    # The driver, between intent and ticket, and between COMMIT and ledger.
    "intent.open": "driver: attempt folder made, the intent not yet on disk",
    "intent.recorded": "driver: the intent is on disk, the backend has not heard of it",
    "submit.answered": "driver: the backend has answered, the ticket is not recorded",
    "ticket.recorded": "driver: the ticket is on disk",
    "ending.seen": "driver: an ending is known and not recorded",
    "ending.recorded": "driver: the ending is recorded, nothing new is submitted",
    "command.recorded": "driver: a control command is recorded and its file not removed",
    "lease.claimed": "driver: a dead driver's lease is claimed, its file not yet removed",
    "lease.taken": "driver: the lease is taken, the ledger not yet open",
    "lease.beat": "driver: its counter in driver.json is about to move",
    "ledger.rebuilt": "driver: a new ledger is filled and not yet on disk",
    "ledger.migrating": "driver: an older ledger is brought up to date and not yet on disk",
    "ledger.commit": "driver: a transaction is about to reach the disk",
    # The host, from request to COMMIT.
    "request.written": "host: request.json is written, no rank forked",
    "publish.begun": "host: the ranks have ended well, nothing is published",
    "manifest.temporary": "host: the manifest is written under its temporary name",
    "manifest.written": "host: the artifact is complete, there is no COMMIT",
    "commit.temporary": "host: the COMMIT lies under its temporary name",
    "commit.linked": "host: the COMMIT is there, the temporary name too",
    "commit.made": "host: the COMMIT is there, the driver has not been told",
    # The host, with a store on S3.
    "upload.part": "store: a part of a large file is sent, the file is not complete",
    "upload.files": "store: all files are sent, the manifest is not",
    "checkpoint.uploaded": "store: all files of a checkpoint are in the bucket, older ones are still there",
    "checkpoint.downloaded": "store: a checkpoint is downloaded, its folder still has its temporary name",
    "fetch.part": "store: a part of a large file has arrived, the file is not complete",
    "fetch.verified": "store: a file is verified, and not yet in the cache",
    # The ranks.
    "deepspeed.before": "rank: before the first DeepSpeed initialisation",
    "deepspeed.after": "rank: DeepSpeed has been initialised, no step taken",
    "checkpoint.files": "rank 0: all files of a checkpoint are written, its manifest is not",
    "checkpoint.manifest": "rank 0: the manifest is written, the folder still has its temporary name",
    "checkpoint.renamed": "rank 0: the checkpoint is complete, older ones are still there",
    "checkpoint.removing": "rank 0: an old checkpoint has lost its manifest and not yet its files",
    "result.written": "rank 0: result.json is written, the process has not ended",
}
"""Point -> where it is."""


def point(name: str) -> None:
    """Die or fail here if a test has armed point `name`.

    Raises:
        OSError: the armed errno.
    """
    folder = os.environ.get(VARIABLE)
    if not folder:
        return
    assert name in POINTS, f"{name!r} is not in the table"
    armed = Path(folder) / name
    try:
        what = armed.read_text(encoding="ascii").strip()
        armed.rename(armed.with_name(f"{name}.fired"))  # of several processes, one
    except FileNotFoundError:
        return
    if what == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    number = getattr(errno, what)
    raise OSError(number, os.strerror(number), name)
