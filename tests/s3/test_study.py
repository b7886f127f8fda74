"""A study whose artifacts are on S3, by its commands; jobs pretend to run."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from s3_proxy import FaultProxy, refusal

from orchestrator import cli
from orchestrator.commands.doctor.state import store as store_check
from orchestrator.commands.doctor.subject import Subject
from orchestrator.opening import open_study
from orchestrator.schedule.ledger.database import NAME, Ledger
from orchestrator.study import Study

Called = Callable[..., tuple[int, str]]
ROWS = ("--rows", "context-k1", "--branches", "loop")


@pytest.fixture
def cluster(proxy: FaultProxy, tmp_path: Path) -> Path:
    location = proxy.service.behind(proxy.endpoint).location(tmp_path)
    path = tmp_path / "fake.yaml"
    path.write_text(
        "backend: fake\ntracking: {kind: none}\nstore:\n"
        f"  {{kind: s3, url: {location.url}, endpoint: '{location.endpoint}', cache: '{tmp_path / 'cache'}'}}\n",
        encoding="utf-8",
    )
    return path


@pytest.fixture
def called(
    cluster: Path, tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Called:
    monkeypatch.setenv("ECHO_MATRIX_FAKE_S", "0")

    def call(*words: str, home: str = "one") -> tuple[int, str]:
        monkeypatch.setenv("ECHO_MATRIX_HOME", str(tmp_path / home))
        given = ["echo-matrix", *words, "--matrix", str(root / "matrix.yaml"), "--cluster", str(cluster)]
        monkeypatch.setattr(sys, "argv", given)
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out + said.err

    return call


def study_of(tmp_path: Path, root: Path, cluster: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    monkeypatch.setenv("ECHO_MATRIX_HOME", str(tmp_path / "one"))
    return open_study(root / "matrix.yaml", cluster=cluster, look=False)


def test_a_study_runs_on_a_bucket_and_another_home_finds_it_done(proxy: FaultProxy, called: Called) -> None:
    code, said = called("run", *ROWS)
    assert (code, "7 done" in said) == (0, True), said
    proxy.clear()
    for words in (("plan", *ROWS), ("status",), ("show", "train/context-k1/s0"), ("run", *ROWS)):
        code, said = called(*words)
        assert code == 0, said
    assert proxy.seen("GET", "/artifacts/train/") == 0  # what only looks fetches nothing
    code, said = called("show", "train/context-k1/s0")
    assert "artifact  s3://echo-matrix-tests/test-" in said
    code, said = called("plan", *ROWS, home="two")
    assert "nothing to do" in said
    code, said = called("path", "train/context-k1/s0", home="two")
    assert code == 0
    assert (Path(said.strip()) / "manifest.json").is_file()


def test_wrong_credentials_end_a_run_before_anything_is_started(
    called: Called, cluster: Path, tmp_path: Path, root: Path, proxy: FaultProxy
) -> None:
    proxy.fail(refusal(403, "SignatureDoesNotMatch"), times=1000)
    code, said = called("run", *ROWS)
    assert code == 1
    assert "does not know these credentials (SignatureDoesNotMatch" in said
    assert "Traceback" not in said
    (home,) = (tmp_path / "one").iterdir() if (tmp_path / "one").exists() else (None,)
    if home is not None and (home / NAME).exists():
        with Ledger.read(home / NAME) as ledger:
            assert ledger.attempts() == []


def test_a_service_that_is_away_is_one_sentence(called: Called, proxy: FaultProxy) -> None:
    proxy.fail(refusal(503, "ServiceUnavailable"), times=1000)
    code, said = called("plan", *ROWS)
    assert code == 1
    assert "fails now (ServiceUnavailable: Told to fail)" in said
    assert "Traceback" not in said
    assert said.count("\n") == 1


def test_doctor_tries_the_bucket(
    proxy: FaultProxy, cluster: Path, tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = study_of(tmp_path, root, cluster, monkeypatch)
    works, room = store_check(Subject(study=study, environment={}))
    assert works.level == "ok"
    assert works.says.endswith(f"conditional writes work at {proxy.endpoint}; 0 completed jobs")
    assert "of what is fetched" in room.says or "the cache of the store may take" in room.says
    proxy.fail(refusal(404, "NoSuchBucket"), times=100)
    (refused,) = store_check(Subject(study=study_of(tmp_path, root, cluster, monkeypatch), environment={}))
    assert refused.level == "bad"
    assert "has no bucket 'echo-matrix-tests'; create it" in refused.says
    assert "docs/how-to/s3.md" in refused.remedy
