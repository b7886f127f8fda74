"""Do the services answer that the study uses: Ray, the tracker, the judge; and are the named paths there."""

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
    """MLflow's database is on a disk where it works, or its server answers."""
    study = subject.study
    settings = study.cluster.tracking
    if settings.kind == "none":
        yield ok("not used: tracking.kind is none")
    elif settings.uri is None or settings.uri.startswith("sqlite:///"):
        path = study.home / "mlflow.db" if settings.uri is None else Path(settings.uri.removeprefix("sqlite:///"))
        kind = file_system(path)
        if kind in NETWORK:
            yield warning(
                f"{path} is on {kind}: the database's WAL does not work there",
                "tracking.uri: an MLflow server, or a local disk by ECHO_MATRIX_HOME",
            )
        else:
            yield ok(f"{path} on {kind or 'a file system of unknown kind'}")
    else:
        yield _answer(settings.uri.rstrip("/") + "/health", "MLflow", {}, "start it, or tracking.uri: null for SQLite")


def workload(subject: Subject) -> Iterator[CheckResult]:
    """What the study's own services and files say, as its workload looks at them."""
    study = subject.study
    for name, found in study.plan.workload.diagnoses(study.plan.cells, study.cluster.paths, subject.environment):
        if isinstance(found, ServiceEndpoint):
            yield _answer(found.url, found.what, dict(found.headers), found.remedy)
        else:
            yield CheckResult(level=found.level, says=f"{name}: {found.says}", remedy=found.remedy)


def paths(subject: Subject) -> Iterator[CheckResult]:
    """What `paths` of the cluster file names is there."""
    study = subject.study
    unlike = study.plan.workload.unlike_paths
    named = {name: place for name, place in study.cluster.paths.items() if name not in unlike}
    for name, place in named.items():
        if not Path(place).exists():
            yield bad(f"paths.{name}: {place} is not there", f"correct paths.{name} in cluster/*.yaml")
        elif not os.access(place, os.R_OK):
            yield bad(f"paths.{name}: {place} cannot be read", "give this user the right to read it")
        else:
            yield ok(f"paths.{name}: {place}")
    if not named:
        yield ok("no paths are named")


def shown(url: str) -> str:
    """A URL without user, password, query and fragment."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "a URL that cannot be read"
    return f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path}"


def _answer(url: str, what: str, headers: dict[str, str], remedy: str) -> CheckResult:
    """Whether a server answers a GET; also a refusal is an answer, but for one that names the credentials."""
    if urlsplit(url).scheme not in ("http", "https"):
        return warning(f"{what}: {shown(url)} is no http address and is not looked at", "see that it can be reached")
    try:
        request = urllib.request.Request(url, headers=headers)
        with urllib.request.urlopen(request, timeout=ANSWER_S) as answer:
            return ok(f"{what} answers at {shown(url)} ({answer.status})")
    except urllib.error.HTTPError as error:
        if error.code in (401, 403):
            return bad(f"{what} at {shown(url)} refuses the credentials ({error.code})", remedy)
        return ok(f"{what} answers at {shown(url)} ({error.code})")
    except urllib.error.URLError as error:
        return bad(f"{what} does not answer at {shown(url)}: {_words(error.reason)}", remedy)
    except (OSError, http.client.HTTPException, ValueError) as error:
        return bad(f"{what} does not answer at {shown(url)}: {_words(error)}", remedy)


def _words(reason: object) -> str:
    """Why, without what was sent."""
    if isinstance(reason, ssl.SSLError):
        return f"TLS: {reason.reason or 'failed'}"
    if isinstance(reason, OSError) and reason.strerror:
        return reason.strerror
    return type(reason).__name__ if isinstance(reason, Exception) else str(reason)
