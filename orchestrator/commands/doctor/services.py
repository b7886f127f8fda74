"""Checks of services and paths: the tracker, services of the workload, paths of the cluster file."""

import http.client
import os
import ssl
import urllib.error
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from orchestrator.backends.check_result import CheckResult, bad, ok, warning
from orchestrator.commands.doctor.subject import Subject
from orchestrator.host.machine import existing_folder, file_system
from orchestrator.tracking.mlflow.server import CREDENTIALS, api_request
from orchestrator.tracking.mlflow.sqlite_file import IN_WORDS, Condition, condition_of, database_path, log_ahead_works
from orchestrator.web import get
from orchestrator.wording import public_url
from workloads.contract.planned import ServiceEndpoint

ANSWER_S = 5.0
MOST_BYTES = 4096
"""Of an answer that are looked at."""


def tracker(subject: Subject) -> Iterator[CheckResult]:
    """Whether MLflow's database can be used, and how it is written there; or whether its server responds."""
    study = subject.study
    settings = study.cluster.tracking
    if settings.kind == "none":
        yield ok("not used: tracking.kind is none")
        return
    path = database_path(study.home, settings.uri)
    if path is None:
        request = api_request(settings.uri or "", subject.environment)
        yield _answer(*request, "MLflow", CREDENTIALS, speaks_json=True)
    else:
        yield _database(path, own=settings.uri is None)


def _database(path: Path, *, own: bool) -> CheckResult:
    found: Condition = condition_of(path) if path.exists() else "whole"
    if found != "whole":
        replaced = "the next `run` or `echo-matrix sync` keeps it under another name, and replaces it"
        remedy = replaced if own else "name another database in tracking.uri"
        return (warning if own else bad)(f"{path} {IN_WORDS[found]}", remedy)
    kind = file_system(path) or "a file system of unknown kind"
    works = log_ahead_works(existing_folder(path.parent))
    how = "" if works else ", with a rollback journal: SQLite's write-ahead log does not work there"
    return ok(f"{path} on {kind}{how}")


def workload(subject: Subject) -> Iterator[CheckResult]:
    """Services and files of the study, as examined by its workload."""
    study = subject.study
    for name, found in study.plan.workload.diagnoses(study.plan.cells, study.cluster.paths, subject.environment):
        if isinstance(found, ServiceEndpoint):
            yield _answer(found.url, found.headers, found.what, found.remedy)
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


def _answer(url: str, headers: Mapping[str, str], what: str, remedy: str, *, speaks_json: bool = False) -> CheckResult:
    """Whether a server responds to a GET with data.

    A redirect is not followed: the credentials would go along, to wherever it leads. Any other status is a response,
    except that of refused credentials and of a server in front that finds none behind it. A web page is none: login
    pages come with status 200. With `speaks_json`, only a JSON object is.
    """
    place = public_url(url)
    if urlsplit(url).scheme not in ("http", "https"):
        return warning(f"{what}: {place} is not an http address; not checked", "make sure it can be reached")
    try:
        with get(url, headers, ANSWER_S) as answer:
            content = answer.read(MOST_BYTES)
            is_page = content[:200].lstrip().lower().startswith((b"<!doctype", b"<html"))
            if is_page or (speaks_json and not content.lstrip().startswith(b"{")):
                answered = "a web page" if is_page else "something else"
                return bad(
                    f"{what} does not respond at {place}, {answered} does ({answer.status}): a login page, or "
                    "another server",
                    remedy,
                )
            return ok(f"{what} responds at {place} ({answer.status})")
    except urllib.error.HTTPError as error:
        if error.code in (401, 403, 407):
            return bad(f"{what} at {place} refuses the credentials ({error.code})", remedy)
        if 300 <= error.code < 400:
            said = (
                f"{what} at {place} redirects ({error.code}), which is not followed: a login page, or another address"
            )
            return bad(said, remedy)
        if error.code in (502, 503, 504):
            return bad(f"{what} does not respond at {place}: the server in front of it says {error.code}", remedy)
        if speaks_json:
            return bad(f"{what} at {place} answers with {error.code}", remedy)
        return ok(f"{what} responds at {place} ({error.code})")
    except urllib.error.URLError as error:
        return bad(f"{what} does not respond at {place}: {_words(error.reason)}", remedy)
    except (OSError, http.client.HTTPException, ValueError) as error:
        return bad(f"{what} does not respond at {place}: {_words(error)}", remedy)


def _words(reason: object) -> str:
    """The reason, without anything that was sent."""
    if isinstance(reason, ssl.SSLError):
        return f"TLS: {reason.reason or 'failed'}"
    if isinstance(reason, OSError) and reason.strerror:
        return reason.strerror
    return type(reason).__name__ if isinstance(reason, Exception) else str(reason)
