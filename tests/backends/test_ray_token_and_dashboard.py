"""The token of a Ray cluster, and its dashboard: what keeps them from being used is told without Ray."""

import dataclasses
import http.server
import json
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.backends.check_result import bad, ok
from orchestrator.backends.plugin import PlannedRun
from orchestrator.backends.ray import node_checks
from orchestrator.backends.ray.address import ClusterSilent
from orchestrator.backends.ray.auth_token import check_token, open_token
from orchestrator.backends.ray.checks import dashboard
from orchestrator.backends.ray.settings import RaySettings
from orchestrator.errors import SiteError
from orchestrator.spec.cluster import BUILT_IN

TOKEN = "0123456789abcdef"
START = (
    "start the cluster's dashboard, or a tunnel to it: `ray dashboard FILE`, `kubectl port-forward`, "
    "`ssh -L 8265:127.0.0.1:8265 HEAD`"
)


class Dashboard(http.server.BaseHTTPRequestHandler):
    """`/api/version` of a dashboard that asks for a token, and a web page beside it."""

    def do_GET(self) -> None:
        """Answer."""
        status, body = 200, json.dumps({"version": "4", "ray_version": "2.60.0"})
        if self.path != "/api/version":
            body = "<html>a login page</html>"
        elif (sent := self.headers.get("Authorization")) != f"Bearer {TOKEN}":
            status, body = 401 if sent is None else 403, "no"
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        """Nothing on stderr."""


@pytest.fixture(scope="module")
def served() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Dashboard) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def planned(address: str | None, environment: dict[str, str]) -> PlannedRun:
    ray = RaySettings(address="auto", dashboard=address)
    cluster = dataclasses.replace(BUILT_IN, sections={"ray": ray})
    return PlannedRun(
        home=Path(), cluster=cluster, cluster_file=Path("ray.yaml"), matrix=Path(), jobs=[], environment=environment
    )


def test_a_token_that_is_not_there_is_asked_for_before_ray_ends_the_process(tmp_path: Path) -> None:
    file = tmp_path / ".ray" / "auth_token"
    wanted = {"RAY_AUTH_MODE": "token", "HOME": str(tmp_path)}
    remedy = (
        "copy the cluster's token there from its head (`ray get-auth-token` prints it), or set RAY_AUTH_TOKEN_PATH or "
        "RAY_AUTH_TOKEN"
    )
    with pytest.raises(SiteError) as refused:
        check_token(wanted)
    assert str(refused.value) == (
        f"RAY_AUTH_MODE is token, but {file} cannot be read (No such file or directory); {remedy}"
    )
    file.parent.mkdir()
    file.write_text("\n")
    with pytest.raises(SiteError) as refused:
        check_token(wanted)
    assert str(refused.value) == f"RAY_AUTH_MODE is token, but {file} is empty; {remedy}"
    file.write_text("two words\n")
    with pytest.raises(SiteError) as refused:
        check_token(wanted)
    assert str(refused.value) == f"RAY_AUTH_MODE is token, but {file} holds no token, which is one word; {remedy}"
    with pytest.raises(SiteError, match=r"^RAY_AUTH_TOKEN is no token, which is one word; `ray get-auth-token` prints"):
        check_token({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "one\ntwo"})
    file.write_text("0123456789abcdef")
    check_token(wanted)
    check_token({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0123456789abcdef"})
    check_token({"HOME": str(tmp_path)})
    with pytest.raises(SiteError, match=r"^RAY_AUTH_MODE is 'tokens'; allowed: token, disabled$"):
        check_token({"RAY_AUTH_MODE": "tokens"})


@pytest.fixture
def open_home() -> Iterator[Path]:
    """A folder that others can enter; those of pytest are closed."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_a_token_that_others_can_read_is_told(open_home: Path) -> None:
    file = open_home / ".ray" / "auth_token"
    file.parent.mkdir()
    file.parent.chmod(0o755)
    file.write_text(TOKEN)
    file.chmod(0o644)
    environment = {"HOME": str(open_home), "RAY_AUTH_MODE": "token"}
    assert open_token(environment) == (
        f"other users can read {file}, and whoever has it runs code on the cluster as you; chmod 600 {file}"
    )
    assert open_token({**environment, "RAY_AUTH_TOKEN": TOKEN}) == ""
    assert open_token({**environment, "RAY_AUTH_MODE": "disabled"}) == ""
    file.parent.chmod(0o700)
    assert open_token(environment) == "", "others cannot enter its folder"
    file.parent.chmod(0o755)
    file.chmod(0o600)
    assert open_token(environment) == ""


def test_doctor_asks_the_dashboard_with_the_token(served: str, tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path)}
    with_token = {**home, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN}
    assert list(dashboard(planned(None, home))) == [
        ok("not used: `run --detach` starts the controller on this machine")
    ]
    assert list(dashboard(planned(served, with_token))) == [ok(f"ray 2.60.0 answers at {served}")]
    remedy = "use that of the cluster: RAY_AUTH_TOKEN, or ~/.ray/auth_token"
    assert list(dashboard(planned(served, home))) == [
        bad(f"ray.dashboard is '{served}': it asks for a token, and none was sent (401)", remedy)
    ]
    assert list(dashboard(planned(served, {**with_token, "RAY_AUTH_TOKEN": "another"}))) == [
        bad(f"ray.dashboard is '{served}': it refuses the token (403)", remedy)
    ]


@pytest.mark.parametrize(
    ("place", "why"),
    [
        ("http://127.0.0.1:1", "nothing answers there (Connection refused)"),
        ("SERVED/login", "what answers there is no dashboard of Ray"),
    ],
    ids=["nothing", "a-web-page"],
)
def test_what_is_no_dashboard_is_told_with_what_to_start(served: str, tmp_path: Path, place: str, why: str) -> None:
    address = place.replace("SERVED", served)
    assert list(dashboard(planned(address, {"HOME": str(tmp_path)}))) == [
        bad(f"ray.dashboard is '{address}': {why}", START)
    ]


def test_nodes_of_a_cluster_that_only_its_head_sees_are_no_problem_here(monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(*_: object) -> str:
        raise ClusterSilent("ray.address is 'auto': Ray knows of no cluster on this machine; start one")

    monkeypatch.setattr(node_checks, "ask_in_child", silent)
    asked = "ray job submit --address http://127.0.0.1:8265 -- echo-matrix doctor --cluster FILE"
    assert list(node_checks.nodes(planned("http://127.0.0.1:8265", {}))) == [
        ok(f"looked at from the head alone, whose cluster `auto` is: `{asked}`")
    ]
    assert [one.level for one in node_checks.nodes(planned(None, {}))] == ["bad"]
