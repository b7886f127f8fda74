"""MLflow UI of a study: start its server, wait until it answers, print its address."""

import http.client
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from orchestrator.errors import TrackingError
from orchestrator.host.children import python_command
from orchestrator.tracking.mlflow.tracker import mlflow_environment

START_S = 120.0
"""A server on a busy machine has taken 13 s to start."""

POLL_S = 0.25
END_S = 10.0


def open_ui(home: Path, host: str, port: int, say: Callable[[str], None] = print) -> None:
    """Serve until Ctrl-C.

    Args:
        home: the study's folder under outputs/.
        host: address to listen on.
        port: and its port.
        say: is called with the address when the server answers.

    Raises:
        TrackingError: there are no runs yet, or the server ended (the port is taken); says what to do.
    """
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell starts background jobs with SIGINT ignored
        signal.signal(number, signal.default_int_handler)
    server = start_ui(home, host, port)
    try:
        wait_for_ui(server, home, host, port)
        say(f"http://{host}:{port}")
        server.wait()
    except KeyboardInterrupt:
        return
    finally:
        end_ui(server)


def start_ui(home: Path, host: str, port: int) -> "subprocess.Popen[bytes]":
    """Start the server; it may take a while to answer.

    Raises:
        TrackingError: there are no runs yet.
    """
    database = (home / "mlflow.db").resolve()
    if not database.is_file():
        raise TrackingError(
            f"{database} does not exist: nothing has been tracked yet; run `echo-matrix run` or `sync` first"
        )
    command = python_command("mlflow", "ui", "--backend-store-uri", f"sqlite:///{database}")
    command += ["--default-artifact-root", (home / "mlartifacts").resolve().as_uri()]
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
