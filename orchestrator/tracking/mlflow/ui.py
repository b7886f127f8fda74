"""MLflow UI of a study: start its server, wait until it answers, print its address."""

import contextlib
import http.client
import os
import signal
import sqlite3
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from orchestrator.errors import TrackingError
from orchestrator.host.children import python_command
from orchestrator.requirements import require_libraries
from orchestrator.tracking.mlflow.sqlite_file import ARTIFACTS, NAME, SQLITE, follow_home, refuse_unusable, set_journal
from orchestrator.tracking.mlflow.tracker import mlflow_environment

START_S = 120.0
"""A server on a busy machine has taken 13 s to start."""

POLL_S = 0.25
END_S = 10.0


def open_ui(
    home: Path,
    database: Path,
    experiment: str,
    host: str,
    port: int,
    *,
    busy: bool = False,
    say: Callable[[str], None] = print,
) -> None:
    """Serve until Ctrl-C.

    Args:
        home: the study's folder under outputs/.
        database: with its runs.
        experiment: the study's name.
        host: address to listen on.
        port: and its port.
        busy: a run is in progress, on this machine or on another that may see the folder under another name.
        say: is called with the address when the server answers.

    Raises:
        RequirementError: MLflow is not installed.
        TrackingError: there are no runs yet, MLflow cannot read them, or the server ended (the port is taken); says
            what to do.
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
    server = start_ui(home, host, port, database)
    try:
        wait_for_ui(server, home, host, port)
        say(f"http://{host}:{port}")
        server.wait()
    except KeyboardInterrupt:
        return
    finally:
        end_ui(server)


def start_ui(home: Path, host: str, port: int, database: Path | None = None) -> "subprocess.Popen[bytes]":
    """Start the server for a database, by default the study's own; it may take a while to answer.

    Raises:
        TrackingError: there are no runs yet.
    """
    database = (database or home / NAME).resolve()
    if not database.is_file():
        raise TrackingError(
            f"{database} does not exist: nothing has been tracked yet; run `echo-matrix run` or `sync` first"
        )
    command = python_command("mlflow", "ui", "--backend-store-uri", f"{SQLITE}{database}")
    command += ["--default-artifact-root", (home / ARTIFACTS).resolve().as_uri()]
    command += ["--host", host, "--port", str(port), "--workers", "1"]
    command += ["--uvicorn-opts=--no-access-log"]  # one line per request, and open pages keep polling
    with (home / "ui.log").open("wb") as log:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=home,  # uvicorn, which MLflow starts, imports from the current folder
            env=mlflow_environment(os.environ),
            start_new_session=True,
        )


def wait_for_ui(
    server: "subprocess.Popen[bytes]", home: Path, host: str, port: int, timeout_s: float = START_S
) -> None:
    """Wait until the server answers.

    Raises:
        TrackingError: it ended, or did not answer in time; shows the end of its log.
    """
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if server.poll() is not None:
            break
        try:
            with urllib.request.urlopen(f"http://{host}:{port}/health", timeout=2) as answer:
                if answer.status == 200 and server.poll() is None:
                    return
        except (urllib.error.URLError, http.client.HTTPException, OSError):
            time.sleep(POLL_S)
    tail = (home / "ui.log").read_text(encoding="utf-8", errors="replace")[-800:]
    raise TrackingError(
        f"MLflow does not answer on {host}:{port}; is the port taken? choose another with --port; its log ends: {tail}"
    )


def end_ui(server: "subprocess.Popen[bytes]") -> None:
    """End the server and its workers."""
    if server.poll() is None:
        server.terminate()
        try:
            server.wait(END_S)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
