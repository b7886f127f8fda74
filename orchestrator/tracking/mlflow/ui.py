"""MLflow UI of a study: start its server, wait until it answers, print its link.

The server listens on loopback or on a Unix socket, and every address of it begins with a password that is made at each
start (`gate`). It serves artifacts of the study's folder alone (`home_artifacts`).
"""

import contextlib
import http.client
import ipaddress
import json
import os
import secrets
import signal
import socket
import sqlite3
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import TrackingError
from orchestrator.host.children import child_environment, python_command
from orchestrator.host.code import CHECKOUT
from orchestrator.host.environment import passed
from orchestrator.requirements import require_libraries
from orchestrator.tracking.mlflow.environment import QUIET
from orchestrator.tracking.mlflow.sqlite_file import ARTIFACTS, NAME, SQLITE, follow_home, refuse_unusable, set_journal

LOG = "ui.log"
"""File in the study's folder with the output of the server."""
START_S = 120.0
"""A server on a busy machine has taken 13 s to start."""
POLL_S = 0.25
END_S = 10.0
PASSWORD_BYTES = 24
SERVED = {
    "MLFLOW_SERVER_ALLOWED_HOSTS": "*",  # `Gate` looks at names, and MLflow's own list lacks the machine's
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_ENABLE_AI_GATEWAY": "false",
}
"""Variables of the server."""


@dataclass(frozen=True, kw_only=True)
class UiServer:
    """A server of the UI."""

    process: "subprocess.Popen[bytes]"
    link: str
    """Address of the UI with its password; ends with a slash, and the part of a page may follow (`#/experiments/1`)."""
    socket_path: Path | None
    """Of its Unix socket, which the link's machine and port then lead to by `ssh -L`."""
    log: Path


def open_ui(
    home: Path,
    database: Path,
    experiment: str,
    host: str,
    port: int,
    *,
    socket_path: Path | None = None,
    page: str = "",
    busy: bool = False,
    say: Callable[[str], None] = print,
) -> None:
    """Serve until Ctrl-C.

    Args:
        home: the study's folder under outputs/.
        database: with its runs.
        experiment: the study's name.
        host: address to listen on.
        port: and its port; 0: one that is free.
        socket_path: of a Unix socket to listen on instead.
        page: of the UI that the link opens, such as `#/experiments/1/runs`.
        busy: a run is in progress, on this machine or on another that may see the folder under another name.
        say: is called with the link when the server answers.

    Raises:
        RequirementError: MLflow is not installed.
        TrackingError: there are no runs yet, MLflow cannot read them, it cannot listen there, or the server ended;
            says what to do.
    """
    require_libraries(("mlflow",), "`ui`")
    if database.is_file():
        if not busy:
            with contextlib.suppress(sqlite3.Error):  # who may only read it still sees its numbers
                set_journal(database)
                follow_home(database, experiment, home / ARTIFACTS)
        refuse_unusable(database)
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell starts background jobs with SIGINT ignored
        signal.signal(number, signal.default_int_handler)
    server = start_ui(home, host, port, database, socket_path)
    try:
        wait_for_ui(server)
        for line in words_of(server, page):
            say(line)
        server.process.wait()
    except KeyboardInterrupt:
        return
    finally:
        end_ui(server)


def words_of(server: UiServer, page: str = "") -> list[str]:
    """What is printed once the server answers: the link, and how to reach it where that takes more."""
    link = server.link + page
    if server.socket_path is not None:
        port = link.split(":")[2].partition("/")[0]
        machine = socket.gethostname()
        return [link, f"on your own machine first: ssh -N -L {port}:{server.socket_path} {machine}"]
    return [link]


def start_ui(
    home: Path, host: str, port: int, database: Path | None = None, socket_path: Path | None = None
) -> UiServer:
    """Start the server for a database, by default the study's own; it may take a while to answer.

    Raises:
        TrackingError: there are no runs yet, or it cannot listen there.
    """
    database = (database or home / NAME).resolve()
    if not database.is_file():
        raise TrackingError(
            f"{database} does not exist: nothing has been tracked yet; run `echo-matrix run` or `sync` first"
        )
    password = secrets.token_urlsafe(PASSWORD_BYTES)
    with listen(host, port, socket_path) as listening, (home / LOG).open("wb") as log:
        shown = "127.0.0.1" if socket_path is not None else host
        number = (port or 5000) if socket_path is not None else listening.getsockname()[1]
        settings = {
            "fd": listening.fileno(),
            "password": password,
            "names": names_of(host),
            "database": f"{SQLITE}{database}",
            "home": str(home.resolve()),
            "artifacts": (home / ARTIFACTS).resolve().as_uri(),
        }
        process = subprocess.Popen(
            python_command("orchestrator.tracking.mlflow.ui_server"),
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env=child_environment(CHECKOUT, passed(os.environ)) | QUIET | SERVED,
            pass_fds=(listening.fileno(),),
            start_new_session=True,
        )
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # it has ended, and whoever waits for it says so
        process.stdin.write(json.dumps(settings).encode() + b"\n")
        process.stdin.flush()
    link = f"http://{f'[{shown}]' if ':' in shown else shown}:{number}/{password}/"
    return UiServer(process=process, link=link, socket_path=socket_path, log=home / LOG)


def listen(host: str, port: int, socket_path: Path | None = None) -> socket.socket:
    """A listening socket; of a Unix socket only this user may connect to it.

    Raises:
        TrackingError: it cannot be had; says what to do.
    """
    if socket_path is not None:
        bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        before = os.umask(0o177)
        try:
            _remove_dead(socket_path)
            bound.bind(str(socket_path))
        except OSError as error:
            bound.close()
            raise TrackingError(
                f"--socket {socket_path}: {error.strerror or error}; name a file that does not exist, of at most 107 "
                "letters, on a local disk"
            ) from error
        finally:
            os.umask(before)
        bound.listen()
        return bound
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise TrackingError(
            f"MLflow cannot listen on {host}:{port}: {reason}; choose another port with --port (0: one that is free)"
        ) from error


def _remove_dead(path: Path) -> None:
    """Remove a socket that nobody listens on; another server's stays, and binding fails."""
    if not path.is_socket():
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()


def is_open_to_others(host: str) -> bool:
    """Whether other machines can reach this address, where it is not one of loopback."""
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host != "localhost"


def names_of(host: str) -> list[str]:
    """Names of this machine; the full one too where others reach it, since a name server may take seconds to tell."""
    return [host, socket.gethostname(), *((socket.getfqdn(),) if is_open_to_others(host) else ())]


def wait_for_ui(server: UiServer, timeout_s: float = START_S) -> None:
    """Wait until the server answers.

    Raises:
        TrackingError: it ended, or did not answer in time; shows the end of its log.
    """
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            break
        try:
            if _health(server) == 200 and server.process.poll() is None:
                return
        except (http.client.HTTPException, OSError):
            pass
        time.sleep(POLL_S)
    tail = server.log.read_text(encoding="utf-8", errors="replace")[-800:]
    raise TrackingError(f"MLflow does not answer; its log {server.log} ends: {tail}")


def _health(server: UiServer) -> int:
    """Status of its answer to `/health`."""
    address = server.link.removeprefix("http://").partition("/")[0]
    connection = http.client.HTTPConnection(address, timeout=2)
    if server.socket_path is not None:
        connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.sock.settimeout(2)
        connection.sock.connect(str(server.socket_path))
    with contextlib.closing(connection):
        connection.request("GET", f"/{server.link.split('/')[3]}/health")
        return connection.getresponse().status


def end_ui(server: UiServer) -> None:
    """End the server."""
    if server.process.stdin is not None:
        with contextlib.suppress(BrokenPipeError):
            server.process.stdin.close()  # it ends by this alone, should this process be killed
    if server.process.poll() is None:
        server.process.terminate()
        try:
            server.process.wait(END_S)
        except subprocess.TimeoutExpired:
            server.process.kill()
            server.process.wait()
    if server.socket_path is not None:
        server.socket_path.unlink(missing_ok=True)
