"""Every exception the orchestrator raises on purpose, one sentence each.

Messages say what, where, what is allowed and what to do next: lower case, no full stop, values
quoted with `!r`. The command line prints the message alone and ends with `exit_code`.
"""


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


class TrackingError(OrchestratorError):
    """The tracker cannot be reached; the run goes on without it."""
