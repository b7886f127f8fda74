"""MLflow's pages: errors help, and nobody but who has the link reads or writes.

tests/root/test_browser.py looks at the pages.
"""

import http.client
import json
import os
import socket
import stat
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from listening import is_loopback, listening_sockets

from orchestrator.errors import TrackingError
from orchestrator.tracking.mlflow.database import prepare_database
from orchestrator.tracking.mlflow.sqlite_file import ARTIFACTS, NAME
from orchestrator.tracking.mlflow.ui import (
    UiServer,
    end_ui,
    is_open_to_others,
    listen,
    start_ui,
    wait_for_ui,
    words_of,
)

SECRET = "a key that only its owner may read"
API = "ajax-api/2.0/mlflow/"


def test_without_runs_it_says_what_to_do_first(tmp_path: Path) -> None:
    with pytest.raises(TrackingError, match="echo-matrix run"):
        start_ui(tmp_path, "127.0.0.1", 1)


def test_a_port_that_is_taken_is_refused_at_once_and_says_what_to_do(tmp_path: Path) -> None:
    with listen("127.0.0.1", 0) as taken:
        (tmp_path / NAME).touch()
        with pytest.raises(
            TrackingError, match=r"cannot listen on 127\.0\.0\.1:\d+: .*choose another port with --port"
        ):
            start_ui(tmp_path, "127.0.0.1", taken.getsockname()[1])


def test_only_its_user_may_connect_to_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "ui.sock"
    with listen("", 0, path), pytest.raises(TrackingError, match=r"--socket .*ui\.sock: .*in use"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        listen("", 0, path)
    listen("", 0, path).close()  # what a killed server has left is replaced
    with pytest.raises(TrackingError, match="at most 107 letters"):
        listen("", 0, tmp_path / ("x" * 120))


@pytest.mark.parametrize(
    ("host", "others"),
    [("127.0.0.1", False), ("::1", False), ("localhost", False), ("0.0.0.0", True), ("login1", True)],
)
def test_addresses_that_other_machines_reach_are_told_apart(host: str, others: bool) -> None:
    assert is_open_to_others(host) == others


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("home")
    prepare_database(made / NAME)
    return made


@pytest.fixture(scope="module")
def server(home: Path) -> Iterator[UiServer]:
    os.environ["DRIVERS_SECRET"] = SECRET
    made = start_ui(home, "127.0.0.1", 0)
    del os.environ["DRIVERS_SECRET"]
    wait_for_ui(made, timeout_s=300)
    yield made
    end_ui(made)


def ask(link: str, path: str, send: Any = None, **headers: str) -> tuple[int, str]:
    """Status and text of an answer; `send` is posted as JSON, or as it is."""
    data = send if isinstance(send, bytes) or send is None else json.dumps(send).encode()
    given = {"Content-Type": "application/json", **headers}
    try:
        with urllib.request.urlopen(urllib.request.Request(link + path, data, given), timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def a_run(link: str, name: str, location: str | None) -> str:
    """A run whose artifacts are at `location`; None: where MLflow puts them."""
    asked = {"name": name, **({"artifact_location": location} if location else {})}
    _, made = ask(link, API + "experiments/create", asked)
    _, run = ask(link, API + "runs/create", {"experiment_id": json.loads(made)["experiment_id"]})
    return str(json.loads(run)["run"]["info"]["run_id"])


def test_it_listens_on_loopback_and_answers_nobody_without_its_link(server: UiServer) -> None:
    bare = server.link.rsplit("/", 2)[0] + "/"
    assert ask(server.link, "")[0] == 200
    assert [ask(bare, path)[0] for path in ("", "health", API + "experiments/search?max_results=1")] == [403] * 3
    assert ask(bare, API + "experiments/create", {"name": "by a stranger"})[0] == 403
    found = listening_sockets([server.process.pid])
    assert found and all(is_loopback(address) for address, _, _ in found)


def test_the_password_stands_where_nobody_else_can_read_it(server: UiServer) -> None:
    password = server.link.split("/")[3]
    assert len(password) >= 32
    assert password not in Path(f"/proc/{server.process.pid}/cmdline").read_text(), "ps shows it to everybody"
    assert password not in server.log.read_text()


def test_its_server_has_no_secret_of_the_shell(server: UiServer) -> None:
    assert SECRET not in Path(f"/proc/{server.process.pid}/environ").read_text()


def test_artifacts_below_the_studys_folder_are_served_and_written(server: UiServer, home: Path) -> None:
    run = a_run(server.link, "own", (home / ARTIFACTS / "own").as_uri())
    assert ask(server.link, f"ajax-api/2.0/mlflow/upload-artifact?run_uuid={run}&path=note.txt", b"seen")[0] == 200
    assert ask(server.link, f"get-artifact?run_uuid={run}&path=note.txt") == (200, "seen")
    assert next((home / ARTIFACTS / "own").rglob("note.txt")).read_text() == "seen"


@pytest.mark.parametrize("way", ["a location", "a link in the location", "a link to a file", "a link to a folder"])
def test_no_location_and_no_link_leads_out_of_the_studys_folder(
    server: UiServer, home: Path, tmp_path: Path, way: str
) -> None:
    key = tmp_path / "artifacts" / "key"
    key.parent.mkdir()
    key.write_text(SECRET)
    key.chmod(0o600)
    name = f"{way} {tmp_path.name}"
    inside = home / ARTIFACTS / name
    location, path = inside, "key"
    if way == "a location":
        location = tmp_path
    elif way == "a link in the location":
        (home / ARTIFACTS).mkdir(exist_ok=True)
        inside.symlink_to(tmp_path)
    run = a_run(server.link, name, location.as_uri())
    folder = location / run / "artifacts"
    folder.mkdir(parents=True, exist_ok=True)
    if way == "a link to a folder":
        (folder / "deep").symlink_to(key.parent)
        path = "deep/key"
    else:
        (folder / "key").symlink_to(key)
    status, text = ask(server.link, f"get-artifact?run_uuid={run}&path={path}")
    assert status in (400, 403) and SECRET not in text, "MLflow itself sees some links"
    assert SECRET not in ask(server.link, f"{API}artifacts/list?run_id={run}")[1]
    listed = ask(server.link, f"{API}artifacts/list?run_id={run}")
    assert listed[0] in (400, 403) or "key" not in json.dumps(json.loads(listed[1]).get("files", []))
    upload = f"{API}upload-artifact?run_uuid={run}&path={'deep/new' if way == 'a link to a folder' else 'new'}"
    written = ask(server.link, upload, b"by the server")[0]
    assert (written == 200) == (way == "a link to a file"), written
    assert not list(tmp_path.rglob("new"))


def test_no_bucket_and_no_other_server_is_asked_for_artifacts(server: UiServer) -> None:
    for location in ("s3://bucket/of/others", "mlflow-artifacts:/x"):
        run = a_run(server.link, location, location)
        status, text = ask(server.link, f"get-artifact?run_uuid={run}&path=x")
        assert status >= 400 and "Could not find a registered artifact repository" in text, text


def test_behind_a_unix_socket_it_answers_and_it_ends_when_its_starter_is_gone(home: Path, tmp_path: Path) -> None:
    path = tmp_path / "ui.sock"
    server = start_ui(home, "127.0.0.1", 5077, socket_path=path)
    wait_for_ui(server, timeout_s=300)
    first, how = words_of(server, "#/experiments/1")
    assert first == f"{server.link}#/experiments/1" and first.startswith("http://127.0.0.1:5077/")
    assert f"ssh -N -L 5077:{path} {socket.gethostname()}" in how
    assert listening_sockets([server.process.pid]) == []
    connection = http.client.HTTPConnection("127.0.0.1:5077")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(path))
    connection.request("GET", "/")
    assert connection.getresponse().status == 403, "the socket alone is not enough"
    assert server.process.stdin is not None
    server.process.stdin.close()  # as when the command is killed
    assert server.process.wait(30) == 0
    end_ui(server)
    assert not path.exists()
