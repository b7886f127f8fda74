"""What went wrong with MLflow, for how long, and when to try again."""

import re
import time

from mlflow.exceptions import MlflowException

from orchestrator.pauses import pause_s
from orchestrator.tracking.mlflow.reason import short, text_of

FIRST_S, LONGEST_S = 0.5, 30.0
"""Between two tries: doubled each time, from the first to the longest."""
SAY_AFTER_S = 10.0
"""Shorter outages are not reported."""
PAGE = (
    "a web page answers where MLflow should: is a login page in front of it, or another server at tracking.uri? set "
    "MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD; `echo-matrix doctor` asks again"
)
CREDENTIALS = (
    "MLflow refuses the credentials: set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or "
    "MLFLOW_TRACKING_TOKEN, in the environment of this command; `echo-matrix doctor` asks again"
)

_CAUSE = re.compile(r"Max retries exceeded .*: ([^:]{3,200}?)['\")]*\)\)?$")


class Outage:
    """The time in which nothing can be sent; there is none at first."""

    def __init__(self) -> None:
        self.reason = ""
        """Why nothing can be sent, in one line; empty: there is no outage."""
        self.refusals = 0
        """Tries in a row that somebody has refused: waiting does not help, unless a person does something."""
        self._tries = 0
        self._since = self._until = 0.0
        self._said = False

    def lasts(self) -> bool:
        """Whether it is too early for another try."""
        return bool(self.reason) and time.monotonic() < self._until

    def begin(self, error: Exception) -> str:
        """A try has failed; returns what the user should know, or nothing."""
        now = time.monotonic()
        if not self.reason:
            self._since, self._tries, self._said = now, 0, False
        self.reason = reason_of(error)
        self.refusals = self.refusals + 1 if is_refusal(error) else 0
        self._tries += 1
        self._until = now + pause_s(self._tries, FIRST_S, LONGEST_S)
        if self._said or (now - self._since < SAY_AFTER_S and not self.refusals):
            return ""
        self._said = True
        return (
            f"nothing can be sent to MLflow now ({self.reason}); the run continues, and what is missing is sent later"
        )

    def end(self) -> str:
        """A try has succeeded; returns what the user should know, or nothing."""
        was, self.reason, self.refusals = self.reason, "", 0
        return "MLflow answers again, and gets what it has missed" if was and self._said else ""


def is_refusal(error: Exception) -> bool:
    """Whether somebody answers and will give the same answer again."""
    return _is_page(error) or _http_status(error) in (401, 403)


def refuses_one_request(error: Exception) -> bool:
    """Whether MLflow works and does not take this one request.

    A server whose database connections are all in use says so with the same code, 400.
    """
    invalid = isinstance(error, MlflowException) and error.error_code == "INVALID_PARAMETER_VALUE"
    return invalid and not _is_page(error) and "QueuePool" not in str(error)


def reason_of(error: Exception) -> str:
    """Why MLflow cannot be used, in one line."""
    if _is_page(error):
        return PAGE
    if _http_status(error) in (401, 403):
        return CREDENTIALS
    if cause := _CAUSE.search(text_of(error)):  # of a request that was repeated
        return f"MLflow does not answer: {cause[1]}"
    return short(error)


def _http_status(error: Exception) -> int | None:
    if isinstance(error, MlflowException):
        return int(error.get_http_status_code())
    status = getattr(getattr(error, "response", None), "status_code", None)  # of requests, for artifacts
    return status if isinstance(status, int) else None


def _is_page(error: Exception) -> bool:
    text = str(error).lower()
    by_proxy = "failed with error code 5" in text  # it finds no server behind it, for now
    return ("<html" in text or "<!doctype" in text) and not by_proxy
