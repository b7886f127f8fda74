"""`simulate`: what it says of a study on other hosts, and of the hard mixes."""

import json
from pathlib import Path

import pytest
from own_study import own_matrix

from orchestrator.cli import main


def said(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str) -> tuple[int, str, str]:
    monkeypatch.setattr("sys.argv", ["echo-matrix", "simulate", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ECHO_MATRIX_HOME", str(tmp_path))


def test_more_hosts_are_compared_with_the_first(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    matrix = f"--matrix={own_matrix()}"
    code, out, _ = said(capsys, monkeypatch, matrix, "--rows", "context-k*", "--hosts", "1x0x1", "--hosts", "1x0x4")
    assert code == 0
    lines = out.splitlines()
    assert lines[2].split() == ["hosts", "devices", "cpus", "takes", "at", "least", "in", "use", "saves"]
    assert lines[3].startswith("1x0x1") and lines[3].endswith("100%")
    assert lines[4].startswith("1x0x4") and not lines[4].endswith("%")


def test_slots_of_the_cluster_file_hold_jobs_back(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = (f"--matrix={own_matrix()}", "--rows", "context-k*", "--hosts", "1x0x64", "--json")
    free, limited = (
        json.loads(said(capsys, monkeypatch, *given, *more)[1]) for more in ((), ("--set", "slots={evaluate: 1}"))
    )
    assert limited["makespan_s"][0] > free["makespan_s"][0] and limited["bound_s"][0] >= free["bound_s"][0]


def test_a_mix_prints_makespan_over_bound(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    chart = tmp_path / "chart.svg"
    code, out, _ = said(
        capsys, monkeypatch, "--mix", "train-and-evaluate", "--seeds", "2", "--json", "--svg", str(chart)
    )
    found = json.loads(out)
    assert code == 0 and len(found["per_seed"]) == 2 and found["worst"] == max(found["per_seed"])
    assert found["per_seed"] == [m / b for m, b in zip(found["makespan_s"], found["bound_s"], strict=True)]
    assert chart.read_text().count("host-") >= 8 and "middle" in chart.read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--hosts", "8"], "--hosts '8'; allowed: COUNTxDEVICES[xCPUS], such as 8x8 or 2x0x64"),
        (["--hosts", "8x0"], "--hosts '8x0': hosts without devices need a number of cpus, such as 8x0x64"),
        (["--mix", "easy"], "no mix 'easy'; allowed: gangs, heavy-tail, train-and-evaluate"),
        (
            ["--hosts", "9999x9999"],
            "--hosts '9999x9999' has 99,980,001 devices and 1,599,680,016 cpus; allowed: at most",
        ),
        (["--hosts", "8x8", "--hosts", "8x8"], "--hosts 8x8 is given twice; compare different hosts"),
        (
            ["--mix", "gangs", "--rows", "a", "--all"],
            "--mix takes the place of the study, so --rows, --all would change nothing",
        ),
        (["--mix", "gangs", "--hosts", "1x2"], "1x2: job-0002 never starts: it fits on no host"),
    ],
)
def test_what_cannot_be_simulated_is_said(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    code, _, err = said(capsys, monkeypatch, f"--matrix={own_matrix()}", *arguments)
    assert code == 2 and message in err
