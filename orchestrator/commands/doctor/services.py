"""Do the services answer that the study uses: Ray, the tracker, the judge; and are the named paths there."""

import http.client
import importlib.metadata
import os
import re
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from orchestrator.commands.doctor.finding import Finding, Subject, bad, ok, warning
from workloads.contract.planned import Endpoint

ANSWER_S = 5.0
NETWORK = ("nfs", "nfs4", "cifs", "smb3", "lustre", "fuse.sshfs", "9p", "gpfs", "beegfs")
"""File systems on which SQLite's WAL does not work."""


def ray(subject: Subject) -> Iterator[Finding]:
    """Ray is installed, and a standing one answers; it is not imported: that takes seconds."""
    cluster = subject.study.cluster
    if cluster.backend != "ray":
        yield ok(f"not used: backend is {cluster.backend}")
        return
    try:
        version = importlib.metadata.version("ray")
    except importlib.metadata.PackageNotFoundError:
        yield bad("ray is not installed", "make install")
        return
    address = cluster.ray.address
    if address == "local":
        yield ok(f"ray {version}, started by each run")
        return
    if address == "auto":
        place = subject.environment.get("RAY_ADDRESS", "")
        if not place:
            yield ok(f"ray {version}, address auto: Ray looks for a cluster on this machine")
            return
        address = place
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        yield bad(f"ray.address is {address!r}", "allowed: local, auto, HOST:PORT")
    elif (why := _refused(host, int(port))) is not None:
        yield bad(f"nothing answers on {address}: {why}", "ray start --head there, or ray.address: local")
    else:
        yield ok(f"ray {version}, {address} answers")


def tracker(subject: Subject) -> Iterator[Finding]:
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


def workload(subject: Subject) -> Iterator[Finding]:
    """What the study's own services and files say, as its workload looks at them."""
    study = subject.study
    for name, found in study.plan.workload.diagnoses(study.plan.cells, study.cluster.paths, subject.environment):
        if isinstance(found, Endpoint):
            yield _answer(found.url, found.what, dict(found.headers), found.remedy)
        else:
            yield Finding(level=found.level, says=f"{name}: {found.says}", remedy=found.remedy)


def paths(subject: Subject) -> Iterator[Finding]:
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


def file_system(path: Path, mounts: Path = Path("/proc/self/mounts")) -> str:
    """The kind of file system that a path lies on, or will; empty where it cannot be told."""
    wanted, best, kind = str(path.resolve()), "", ""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    for line in lines:
        _, place, found, *_ = line.split(" ")
        place = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), place)
        if (wanted == place or wanted.startswith(place.rstrip("/") + "/")) and len(place) >= len(best):
            best, kind = place, found
    return kind


def shown(url: str) -> str:
    """A URL without user, password, query and fragment."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "a URL that cannot be read"
    return f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path}"


def _answer(url: str, what: str, headers: dict[str, str], remedy: str) -> Finding:
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


def _refused(host: str, port: int) -> str | None:
    try:
        with socket.create_connection((host, port), timeout=ANSWER_S):
            return None
    except OSError as error:
        return _words(error)
