"""Exceptions of the orchestrator.

A message says what is wrong, where, what is allowed and what to do next: lower case, no full stop, values quoted with
`!r`. The command line prints only the message and exits with `exit_code`.
"""

import contextlib
import errno
import os
from collections.abc import Iterator


class OrchestratorError(Exception):
    """Base of all expected errors."""

    exit_code = 1


class Interrupted(OrchestratorError):
    """The user has pressed Ctrl-C."""

    exit_code = 130

    def __init__(self) -> None:
        super().__init__("interrupted; run the same command again to continue")


class MatrixError(OrchestratorError):
    """matrix.yaml, a cluster file or an override is not valid."""

    exit_code = 2


class PlanError(OrchestratorError):
    """A selection or job name matches nothing, or a plan cannot be carried out."""

    exit_code = 2


class ControlsError(OrchestratorError):
    """Compared cells differ in more than their row, and no deviation gives the reason."""

    exit_code = 2


class StoreError(OrchestratorError):
    """The store cannot be used, or its content is damaged."""


class ArtifactMissing(StoreError):
    """A commit record names files that are missing."""


class CrateError(OrchestratorError):
    """A crate that cannot be written, or that is not safe to read."""

    exit_code = 2


class StoreUnreachable(OSError):
    """A store on the network does not respond, or refuses for now; the same call may succeed later.

    An OSError, so that it is retried and waited for like a network disk that is away.
    """

    def __init__(self, number: int, message: str) -> None:
        super().__init__(number, message)

    def __str__(self) -> str:
        return str(self.strerror)


class LedgerError(OrchestratorError):
    """The ledger cannot be opened or written."""


class LeaseError(OrchestratorError):
    """Another process runs this study."""


class BackendError(OrchestratorError):
    """The backend cannot start, or refuses a request."""


class BackendSilent(BackendError):
    """The backend does not respond; nothing is concluded from that, and the request is repeated."""


class SiteError(BackendError):
    """The site that a backend submits to cannot run the jobs of a plan, or cannot be reached from this machine."""

    exit_code = 2


class TrackingError(OrchestratorError):
    """The tracker cannot be reached; the run continues without it."""


class RequirementError(OrchestratorError):
    """A library is not installed, or the platform cannot run jobs."""

    exit_code = 2


class DiskError(OrchestratorError):
    """A disk is full, read-only, failing, or not accessible to this user; completed results are kept."""


FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""The disk, quota or file size limit is reached."""

_FREE = "free some space, then `run` again: it continues, and completed results are kept"
_ALLOW = "make it writable for this user, or put outputs/ elsewhere ($ECHO_MATRIX_HOME), then `run` again"
_ANSWER = "check that this disk is mounted and responds, then `run` again: it continues, and completed results are kept"
_WAY = "move what is at this path out of the way, then `run` again"
_LIMIT = "raise the limit (`ulimit -n`, `ulimit -u`) or end other processes, then `run` again"

REMEDIES = {
    **dict.fromkeys(FULL, _FREE),
    **dict.fromkeys((errno.EROFS, errno.EACCES, errno.EPERM), _ALLOW),
    **dict.fromkeys(
        (errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENODEV, errno.ENXIO, errno.ENOTCONN, errno.EHOSTDOWN), _ANSWER
    ),
    **dict.fromkeys((errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP), _WAY),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN), _LIMIT),
}
"""errno -> what to do; any other error is a bug."""


NO_TEMPORARY = "No usable temporary directory"
"""What Python's `tempfile` says."""


@contextlib.contextmanager
def disk_errors(where: os.PathLike[str]) -> Iterator[None]:
    """Raise disk errors of the block as DiskError; `where` is named if the system names no file."""
    try:
        yield
    except OSError as error:
        known = disk_error(error, where)
        if known is None:
            raise
        raise known from error


def disk_error(error: OSError, where: os.PathLike[str] | None = None) -> DiskError | None:
    """An operating system error as a DiskError; None: it has no entry in `REMEDIES`."""
    if isinstance(error, StoreUnreachable):
        return DiskError(str(error))
    if NO_TEMPORARY in (error.strerror or ""):
        return DiskError(f"{(error.strerror or '').lower()}; set TMPDIR to a folder that can be written and has room")
    remedy = REMEDIES.get(error.errno or 0)
    if remedy is None:
        return None
    named = error.filename if isinstance(error.filename, str | os.PathLike) else where
    place = "" if named is None else f"{os.fspath(named)}: "
    return DiskError(f"{place}{(error.strerror or str(error)).lower()}; {remedy}")
