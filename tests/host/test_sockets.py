"""What a node and its warm server can be reached at: nothing but pairs of sockets that they inherit."""

from pathlib import Path

import psutil
from toy_jobs import ROOT, SERVER, toy_submission, wait_until

from orchestrator.host.node import Node
from orchestrator.host.publish import Provenance
from orchestrator.store.files import FilesStore


def test_a_warm_server_has_no_address(tmp_path: Path) -> None:
    before = {child.pid for child in psutil.Process().children()}
    node = Node(
        store=FilesStore(tmp_path / "store"),
        code=ROOT,
        provenance=Provenance(code="c" * 64, git="", host_kind="test"),
        command=SERVER,
    )
    try:
        submission = toy_submission(tmp_path, "until asked")
        node.start(submission)
        wait_until(lambda: node.poll()[submission["attempt"]]["phase"] == "running", "the job runs", within_s=60)
        started = [child for child in psutil.Process().children() if child.pid not in before]
        found = [
            one for child in started for process in (child, *child.children(recursive=True)) for one in sockets(process)
        ]
    finally:
        node.close()
    assert started and found
    assert [one for one in found if one] == [], "neither a path nor a port"


def sockets(process: psutil.Process) -> list[str]:
    """The path of each Unix socket of a process (empty: it has none), and the port of each that listens."""
    names = []
    for one in process.net_connections(kind="all"):
        if one.family.name == "AF_UNIX":
            names.append(str(one.laddr or ""))
        elif one.status == psutil.CONN_LISTEN:
            names.append(f"{one.laddr.ip}:{one.laddr.port}")
    return names
