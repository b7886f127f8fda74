"""The environment of processes that write to MLflow."""

from collections.abc import Mapping, Sequence

from orchestrator.host.children import child_environment
from orchestrator.host.code import CHECKOUT
from orchestrator.host.environment import TRACKING, TRACKING_SERVER, passed
from orchestrator.tracking.mlflow.sqlite_file import SQLITE

SCRUBBED = ("MLFLOW_RUN_ID", "MLFLOW_PARENT_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME")
"""Variables that would redirect values to another run."""

QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_ENABLE_ASYNC_LOGGING": "false",  # it loses its queue when it is killed
    "OMP_NUM_THREADS": "1",
    "PYTHONUNBUFFERED": "1",
    "GIT_PYTHON_REFRESH": "quiet",
    "PYTHONSAFEPATH": "1",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # it asks for the run of each address that it prints
}

OWN_RETRIES = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "30"}
"""The child waits and tries again by itself; MLflow would block it for minutes first."""


def mlflow_environment(
    environment: Mapping[str, str], uri: str | None = None, variables: Sequence[str] = ()
) -> dict[str, str]:
    """The environment of a process that writes to MLflow: without variables that redirect it, and without telemetry.

    Args:
        environment: of this process.
        uri: `tracking.uri`; a server may want the credentials of its bucket.
        variables: `environment.tracking` of the cluster file.
    """
    served = () if uri is None or uri.startswith(SQLITE) else TRACKING_SERVER
    allowed = passed(environment, (*TRACKING, *served, *variables))
    kept = {key: value for key, value in allowed.items() if key not in SCRUBBED}
    return child_environment(CHECKOUT, kept) | QUIET
