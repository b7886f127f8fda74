"""Checks of services and paths: the tracker, services of the workload, paths of the cluster file."""

import http.client
import os
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from orchestrator.commands.doctor.finding import CheckResult, Subject, bad, ok, warning
from orchestrator.host.machine import NETWORK, file_system
from workloads.contract.planned import ServiceEndpoint

ANSWER_S = 5.0


def tracker(subject: Subject) -> Iterator[CheckResult]:
    """Whether MLflow's database is on a suitable file system, or its server responds."""
    study = subject.study
    settings = study.cluster.tracking
    if settings.kind == "none":
        yield ok("not used: tracking.kind is none")
    elif settings.uri is None or settings.uri.startswith("sqlite:///"):
        path = study.home / "mlflow.db" if settings.uri is None else Path(settings.uri.removeprefix("sqlite:///"))
        kind = file_system(path)
        if kind in NETWORK:
            yield warning(
                f"{path} is on {kind}, where SQLite's write-ahead log does not work",
                "set tracking.uri to an MLflow server, or ECHO_MATRIX_HOME to a local disk",
            )
        else:
            yield ok(f"{path} on {kind or 'a file system of unknown kind'}")
    else:
        yield _answer(settings.uri.rstrip("/") + "/health", "MLflow", {}, "start it, or set tracking.uri: null")


def workload(subject: Subject) -> Iterator[CheckResult]:
    """Services and files of the study, as examined by its workload."""
    study = subject.study
    for name, found in study.plan.workload.diagnoses(study.plan.cells, study.cluster.paths, subject.environment):
        if isinstance(found, ServiceEndpoint):
            yield _answer(found.url, found.what, dict(found.headers), found.remedy)
        else:
            yield CheckResult(level=found.level, says=f"{name}: {found.says}", remedy=found.remedy)


def paths(subject: Subject) -> Iterator[CheckResult]:
    """Whether each of `paths` in the cluster file exists and is readable."""
    study = subject.study
    unchecked = study.plan.workload.unchecked_paths
    named = {name: place for name, place in study.cluster.paths.items() if name not in unchecked}
    for name, place in named.items():
        if not Path(place).exists():
            yield bad(f"paths.{name}: {place} does not exist", f"correct paths.{name} in cluster/*.yaml")
        elif not os.access(place, os.R_OK):
            yield bad(f"paths.{name}: {place} cannot be read", "make it readable for this user")
        else:
            yield ok(f"paths.{name}: {place}")
    if not named:
        yield ok("none set")


def shown(url: str) -> str:
    """A URL without user, password, query and fragment."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "an invalid URL"
    return f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path}"


def _answer(url: str, what: str, headers: dict[str, str], remedy: str) -> CheckResult:
    """Whether a server responds to a GET; any status is a response, except that of refused credentials."""
    if urlsplit(url).scheme not in ("http", "https"):
        return warning(f"{what}: {shown(url)} is not an http address; not checked", "make sure it can be reached")
    try:
        request = urllib.request.Request(url, headers=headers)
        with urllib.request.urlopen(request, timeout=ANSWER_S) as answer:
            return ok(f"{what} responds at {shown(url)} ({answer.status})")
    except urllib.error.HTTPError as error:
        if error.code in (401, 403):
            return bad(f"{what} at {shown(url)} refuses the credentials ({error.code})", remedy)
        return ok(f"{what} responds at {shown(url)} ({error.code})")
    except urllib.error.URLError as error:
        return bad(f"{what} does not respond at {shown(url)}: {_words(error.reason)}", remedy)
    except (OSError, http.client.HTTPException, ValueError) as error:
        return bad(f"{what} does not respond at {shown(url)}: {_words(error)}", remedy)


def _words(reason: object) -> str:
    """The reason, without anything that was sent."""
    if isinstance(reason, ssl.SSLError):
        return f"TLS: {reason.reason or 'failed'}"
    if isinstance(reason, OSError) and reason.strerror:
        return reason.strerror
    return type(reason).__name__ if isinstance(reason, Exception) else str(reason)
