"""Secrets of the environment are in no file that a study writes: every byte of its folder is looked through."""

import gzip
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

HOST_TESTS = str(Path(__file__).parent.parent / "host")
if HOST_TESTS not in sys.path:
    sys.path.insert(0, HOST_TESTS)

from toy_jobs import ROOT, SERVER, toy_submission, wait_until  # noqa: E402

from orchestrator.host.environment import JobVariables  # noqa: E402
from orchestrator.host.node import Node  # noqa: E402
from orchestrator.host.publish import Provenance  # noqa: E402
from orchestrator.schedule.ledger.database import Attempt, Ledger  # noqa: E402
from orchestrator.store.files import FilesStore  # noqa: E402

PLANTED = {
    "AWS_ACCESS_KEY_ID": "AKIAPLANTED000000001",
    "AWS_SECRET_ACCESS_KEY": "planted/secret+access==1",
    "AWS_SESSION_TOKEN": "planted-session-token-2",
    "HF_TOKEN": "hf_planted3planted3planted3planted3x",
    "ECHO_MATRIX_JUDGE_KEY": "sk-planted-judge-key-4-planted",
    "MLFLOW_TRACKING_PASSWORD": 'planted "tracking" \\password 5',
    "MLFLOW_TRACKING_URI": "https://somebody:planted-in-uri-6@mlflow.example/",
    "https_proxy": "http://somebody:planted%40in-proxy-7@127.0.0.1:9",
    "SMTP_PASS": "pl4nt!",
    "DATA_URL": "https://account.blob/c?sv=2024-11-04&se=2026&sig=planted%2Bsignature%2B10",
    "DATABASE": "host=db user=me password=planted-in-dsn-11",
    "SERVICE_ACCOUNT": '{"type": "service_account", "private_key": "planted-in-json-12\\nplanted-in-json-13"}',
    "DEPLOY_KEY": "-----BEGIN PLANTED KEY-----\nplanted-first-line-8\nplanted-second-line-9\n-----END PLANTED KEY-----",
}
TRACES = (
    *(
        "AKIAPLANTED000000001",
        "planted/secret+access==1",
        "planted-session-token-2",
        "hf_planted3",
        "planted-judge-key-4",
    ),
    *("password 5", "planted-in-uri-6", "planted%40in-proxy-7", "planted@in-proxy-7"),
    *("planted-first-line-8", "planted-second-line-9", "pl4nt!", "planted+signature+10", "planted-in-dsn-11"),
    *("planted-in-json-12", "planted-in-json-13"),
)


def leaks(folder: Path) -> list[str]:
    """`FILE: trace` of everything planted that is found in any file below `folder`, packed ones unpacked."""
    needles = {trace: {trace, quote(trace, safe=""), json.dumps(trace)[1:-1]} for trace in TRACES}
    found: list[str] = []
    for path in (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()):
        content = path.read_bytes()
        if content.startswith(b"\x1f\x8b"):
            content += gzip.decompress(content)
        if content.startswith(b"SQLite format 3\0"):
            with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
                content += "\n".join(database.iterdump()).encode("utf-8", "surrogateescape")
        found += [
            f"{path}: {trace}" for trace, forms in needles.items() if any(form.encode() in content for form in forms)
        ]
    return found


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in PLANTED.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def node(planted: None, tmp_path: Path) -> Iterator[Node]:
    made = Node(
        store=FilesStore(tmp_path / "store"),
        code=ROOT,
        provenance=Provenance(code="c" * 64, git="", host_kind="test"),
        command=SERVER,
        variables=JobVariables(every=tuple(PLANTED)),
        records_endings=True,
    )
    yield made
    made.close()


def test_a_trace_is_found_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "plain.txt").write_text("x planted-first-line-8 y", encoding="utf-8")
    (tmp_path / "packed.gz").write_bytes(gzip.compress(b"planted/secret+access==1"))
    with sqlite3.connect(tmp_path / "some.db") as database:
        database.execute("CREATE TABLE t (x TEXT)")
        database.execute("INSERT INTO t VALUES (?)", ("y" * 5000 + "planted-in-uri-6" + "z" * 5000,))
    assert len(leaks(tmp_path)) == 3


@pytest.mark.slow
def test_a_job_that_spills_its_environment_and_fails_with_it_leaves_no_secret(node: Node, tmp_path: Path) -> None:
    submission = toy_submission(tmp_path, "spill")
    work = Path(submission["request"]["work"])
    node.start(submission)
    wait_until(lambda: node.poll()[submission["attempt"]]["phase"] == "ended", "the job has ended", within_s=240)
    report = node.poll()[submission["attempt"]]
    assert report["ending"] == "error", report
    assert (work / "spilt").exists()
    with Ledger.open(tmp_path / "ledger.sqlite", lambda: None) as ledger:
        mine = Attempt(
            id=submission["attempt"],
            fingerprint=submission["request"]["fingerprint"],
            job=submission["job"],
            label="data",
            stage="data",
            host="fake",
            intended=0.0,
        )
        ledger.record_intent(mine)
        ledger.record_end(mine.id, "error", 1.0, f"{report['detail']} and {PLANTED['HF_TOKEN']}")
    said = (work / "log.txt").read_text(encoding="utf-8")
    assert "AWS_SECRET_ACCESS_KEY=***" in said
    assert "RuntimeError: cannot log in with" in said
    assert "cannot log in with" in (work / "result.json").read_text(encoding="utf-8")
    assert leaks(tmp_path) == []
    assert not [trace for trace in TRACES if trace in json.dumps(report)]


@pytest.mark.slow
def test_a_study_with_secrets_in_its_environment_writes_none_of_them(planted: None, tmp_path: Path) -> None:
    """On the fake backend, with MLflow; what would carry a secret in is refused before anything runs."""
    cluster = tmp_path / "cluster.yaml"
    cluster.write_text("backend: fake\n", encoding="utf-8")
    home = tmp_path / "outputs"
    environment = {**os.environ, "ECHO_MATRIX_HOME": str(home), "ECHO_MATRIX_FAKE_S": "0.1"}

    def call(command: str, *more: str) -> "subprocess.CompletedProcess[str]":
        files = ("--cluster", cluster, "--matrix", ROOT / "matrix.yaml")
        return subprocess.run(
            [Path(sys.executable).with_name("echo-matrix"), command, *files, *more],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=500,
        )

    def run(*more: str) -> "subprocess.CompletedProcess[str]":
        return call("run", "--rows", "context-k1", "--branches", "replay", *more)

    for name in ("AWS_SECRET_ACCESS_KEY", "HF_TOKEN", "ECHO_MATRIX_JUDGE_KEY", "MLFLOW_TRACKING_URI"):
        refused = run(f"controls.sampler.negative={PLANTED[name]}")
        assert refused.returncode == 2
        assert "credentials are read from the environment only" in refused.stderr
        assert not [trace for trace in TRACES if trace in refused.stdout + refused.stderr]
    assert not home.exists()
    ended = run()
    assert ended.returncode == 0, ended.stderr
    assert list(home.rglob("mlflow.db")) and list(home.rglob("ledger.sqlite")) and list(home.rglob("driver.log"))
    assert not [trace for trace in TRACES if trace in ended.stdout + ended.stderr]
    for command in (["doctor", "--json"], ["explain", "train/context-k1/s0"], ["show", "train/context-k1/s0"]):
        shown = call(*command)
        assert shown.stdout and not [trace for trace in TRACES if trace in shown.stdout + shown.stderr], command
    assert leaks(home) == []
