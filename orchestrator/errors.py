"""Every exception the orchestrator raises on purpose, one sentence each.

Messages say what, where, what is allowed and what to do next: lower case, no full stop, values
quoted with `!r`. The command line prints the message alone and ends with `exit_code`.
"""

import contextlib
import errno
import os
from collections.abc import Iterator


class OrchestratorError(Exception):
    """Base of all errors that a user can act on."""

    exit_code = 1


class MatrixError(OrchestratorError):
    """matrix.yaml, cluster/*.yaml or an override says something that cannot be."""

    exit_code = 2


class PlanError(OrchestratorError):
    """A selection or a job name that matches nothing, or a plan that cannot be made."""

    exit_code = 2


class ControlsError(OrchestratorError):
    """Cells that are compared differ in more than their memory, and no deviation says why."""

    exit_code = 2


class StoreError(OrchestratorError):
    """The store cannot be used, or holds something that it must not hold."""


class ArtifactMissing(StoreError):
    """A COMMIT names files that are not there."""


class LedgerError(OrchestratorError):
    """The ledger cannot be opened or written."""


class LeaseError(OrchestratorError):
    """Another driver runs this study."""


class BackendError(OrchestratorError):
    """The backend cannot start, or refuses what it was asked."""


class BackendSilent(BackendError):
    """The backend does not answer now: nothing is known, nothing is concluded, and it is asked again."""


class SiteError(BackendError):
    """The site that a backend submits to cannot take what a plan asks for, or cannot be reached from this machine."""

    exit_code = 2


class TrackingError(OrchestratorError):
    """The tracker cannot be reached; the run goes on without it."""


class DiskError(OrchestratorError):
    """A disk is full, read-only or failing, or lets this user do nothing; what is done is done."""


FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""There is no room."""

_FREE = "free some space, then `run` again: what is done is done, and it goes on from there"
_ALLOW = "make it writable for this user, or put outputs/ elsewhere ($ECHO_MATRIX_HOME), then `run` again"
_ANSWER = "see that this disk is there and answers, then `run` again: what is done is done, and it goes on from there"
_WAY = "put what is in the way aside, then `run` again"
_LIMIT = "raise the limit (`ulimit -n`, `ulimit -u`) or end what else runs, then `run` again"

REMEDIES = {
    **dict.fromkeys(FULL, _FREE),
    **dict.fromkeys((errno.EROFS, errno.EACCES, errno.EPERM), _ALLOW),
    **dict.fromkeys(
        (errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENODEV, errno.ENXIO, errno.ENOTCONN, errno.EHOSTDOWN), _ANSWER
    ),
    **dict.fromkeys((errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP), _WAY),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN), _LIMIT),
}
"""errno -> what to do; what is not here is a bug, or says enough."""


@contextlib.contextmanager
def disk_errors(where: os.PathLike[str]) -> Iterator[None]:
    """Whatever a disk refuses within is raised as DiskError; `where` is named if the system names no file."""
    try:
        yield
    except OSError as error:
        known = disk_error(error, where)
        if known is None:
            raise
        raise known from error


def disk_error(error: OSError, where: os.PathLike[str] | None = None) -> DiskError | None:
    """The error of an operating system as the user reads it; None where it is not the disk's or the machine's."""
    remedy = REMEDIES.get(error.errno or 0)
    if remedy is None:
        return None
    named = error.filename if isinstance(error.filename, str | os.PathLike) else where
    place = "" if named is None else f"{os.fspath(named)}: "
    return DiskError(f"{place}{(error.strerror or str(error)).lower()}; {remedy}")
