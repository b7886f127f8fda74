"""A controller that Ray's Jobs API starts on another machine: a small server speaks it, and runs what it is given."""

import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from ray._private.authentication_test_utils import reset_auth_token_state
from rehearsal import FOR_EVER_S, Rehearsal, wait_for

from orchestrator.backends.ray.driver_job import UNSEEN, DriverJob, driver_command
from orchestrator.commands.run.detach import start_detached
from orchestrator.errors import SiteError
from orchestrator.host.code import CHECKOUT
from orchestrator.schedule.lease_holder import is_held, read_holder

TOKEN = "of-the-cluster"


class Head(http.server.ThreadingHTTPServer):
    """A head that has the Jobs API and runs each job as a process of this machine."""

    def __init__(self, folder: Path, variables: dict[str, str]) -> None:
        super().__init__(("127.0.0.1", 0), Api)
        self.folder, self.variables = folder, variables
        self.jobs: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def log(self, job: str) -> Path:
        return self.folder / f"{job}.log"


class Api(http.server.BaseHTTPRequestHandler):
    server: Head

    def do_GET(self) -> None:
        parts = self.path.strip("/").split("/")
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self.answer({"error": "Forbidden"}, 403)
        elif parts == ["api", "version"]:
            self.answer({"version": "4", "ray_version": version("ray"), "ray_commit": "", "session_name": ""})
        elif parts[-1] == "logs":
            self.answer({"logs": self.server.log(parts[2]).read_text(encoding="utf-8")})
        else:
            code = self.server.jobs[parts[2]].poll()
            status = "RUNNING" if code is None else "SUCCEEDED" if code == 0 else "FAILED"
            fields = {"type": "SUBMISSION", "submission_id": parts[2], "entrypoint": "", "driver_exit_code": code}
            self.answer({**fields, "status": status})

    def do_POST(self) -> None:
        job = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name, head = job["submission_id"], self.server
        with head.log(name).open("wb") as log:
            line = ["bash", "-c", job["entrypoint"]]
            head.jobs[name] = subprocess.Popen(line, env=head.variables, stdout=log, stderr=log, start_new_session=True)
        self.answer({"job_id": name, "submission_id": name})

    def answer(self, content: dict[str, Any], status: int = 200) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing on stderr."""


@pytest.fixture
def head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Head]:
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    reset_auth_token_state()  # Ray remembers what an earlier test of this process had set
    with Head(tmp_path, {**os.environ, "ECHO_MATRIX_FAKE_S": str(FOR_EVER_S)}) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()
        for job in server.jobs.values():
            job.kill()
            job.wait()


def test_a_controller_on_the_cluster_is_followed_and_stopped_from_here(head: Head, rehearsal: Rehearsal) -> None:
    said: list[str] = []
    job = DriverJob(head.address)
    given = rehearsal.line("run", "--rows", "context-k1")[2:]
    started = start_detached(given, rehearsal.home, said.append, job)
    assert started.works and started.exit_code is None, started.output
    assert said == [f"job {job.id} has started; waiting for its first attempt"]
    holder = read_holder(rehearsal.home)
    assert holder is not None and holder.pid == started.pid == head.jobs[job.id].pid
    assert started.out.read_text(encoding="utf-8").startswith("echo-memory · laptop: 11 of 11 jobs to do\n")
    assert head.log(job.id).read_text(encoding="utf-8") == f"the output goes to {rehearsal.home}\n"

    again = start_detached(given, rehearsal.home, said.append, DriverJob(head.address))
    assert again.exit_code == 1 and "; wait for it, or stop it with `echo-matrix stop`; " in again.output
    still = read_holder(rehearsal.home)
    assert still is not None and still.nonce == holder.nonce

    stopped = rehearsal.call("stop")
    assert stopped.returncode == 0, stopped.stderr
    assert wait_for(lambda: job.exit_code(), "the job ends") == 130
    assert not is_held(rehearsal.home)
    assert not [path.name for path in rehearsal.home.iterdir() if path.name.startswith((".seen", ".driver.out"))]


def test_a_controller_that_refuses_says_why_here(head: Head, rehearsal: Rehearsal) -> None:
    given = [*rehearsal.line("run")[2:], "--rows", "no-such-row"]
    started = start_detached(given, rehearsal.home, print, DriverJob(head.address))
    assert started.exit_code == 2
    assert "no-such-row" in started.output


def test_a_head_that_does_not_see_the_studys_folder(tmp_path: Path) -> None:
    seen = tmp_path / "elsewhere/study/.seen-1"
    line = driver_command(
        ["run"], python=sys.executable, code=CHECKOUT, seen=seen, out=seen.parent / "out", folder=tmp_path
    )
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True)
    assert done.returncode == UNSEEN
    assert done.stdout == (
        f"the cluster's head does not see the study's folder {seen.parent}: put ECHO_MATRIX_HOME on a file system that "
        "it shares, or submit the run by `ray job submit` (docs/how-to/driver-on-the-cluster.md)\n"
    )


def test_a_wrong_token_and_a_dashboard_that_is_not_there(head: Head, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SiteError, match=r"^ray.dashboard is 'http://127.0.0.1:1': nothing answers there \(.*tunnel"):
        DriverJob("http://127.0.0.1:1")
    monkeypatch.setattr(sys.modules[__name__], "TOKEN", "of-another-cluster")
    with pytest.raises(SiteError, match=r"it refuses the token \(403\); use that of the cluster: RAY_AUTH_TOKEN, or ~"):
        DriverJob(head.address)
