"""What the command line says of mistakes: one line on standard error, nothing on standard output, exit code 2."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from rehearsal import Rehearsal

from orchestrator import cli
from orchestrator.cli import main
from orchestrator.commands.command import declared_commands
from orchestrator.opening import open_study
from orchestrator.schedule.ledger.database import NAME, Ledger

VERBS = [command.name for command in declared_commands()]

MISTAKES = {
    ("runn",): "echo-matrix: no such command 'runn'; did you mean 'run'? See `echo-matrix --help`\n",
    ("plan", "--profil=x"): (
        "echo-matrix: no such option: --profil; did you mean --profile? See `echo-matrix plan --help`\n"
    ),
    ("logs",): "echo-matrix: missing argument 'JOB'; see `echo-matrix logs --help`\n",
    ("logs", "data", "--tail", "some"): (
        "echo-matrix: invalid value for '--tail': write a whole number; see `echo-matrix logs --help`\n"
    ),
    ("reshard", "data", "--ranks", "0"): (
        "echo-matrix: invalid value for '--ranks': allowed: 1 and more; see `echo-matrix reshard --help`\n"
    ),
    ("run", "--first", "cell"): (
        "echo-matrix: invalid value for '--first': 'cell'; allowed: 'row', 'seed', 'comparison'; see `echo-matrix run "
        "--help`\n"
    ),
    ("run", "--max-device-hours", "0"): "echo-matrix: --max-device-hours 0; allowed: a number of hours above 0\n",
    ("run", "--max-core-hours", "some"): (
        "echo-matrix: invalid value for '--max-core-hours': write a number; see `echo-matrix run --help`\n"
    ),
    ("run", "--max-core-hours", "-1"): "echo-matrix: --max-core-hours -1; allowed: a number of hours above 0\n",
    ("reshard", "data", "--zero-stage", "3"): (
        "echo-matrix: invalid value for '--zero-stage': allowed: at most 2; see `echo-matrix reshard --help`\n"
    ),
}


Said = tuple[int, str, str]


@pytest.fixture
def echo_matrix(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """The command line in this process: exit code, standard output, standard error."""

    def call(*arguments: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["echo-matrix", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return call


@pytest.mark.parametrize("line", MISTAKES, ids=" ".join)
def test_a_mistake_on_the_command_line_is_one_line_that_says_what_is_allowed(
    echo_matrix: Callable[..., Said], line: tuple[str, ...]
) -> None:
    assert echo_matrix(*line) == (2, "", MISTAKES[line])


@pytest.mark.parametrize("option", ["--cluster", "--backend"])
@pytest.mark.parametrize("verb", ["plan", "run", "status", "doctor", "stop", "gc", "report"])
def test_a_backend_that_is_not_there_ends_with_2_on_every_verb(
    echo_matrix: Callable[..., Said],
    root: Path,
    verb: str,
    option: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ECHO_MATRIX_HOME", str(tmp_path))  # `stop` asks no cluster file about a study that is there
    assert echo_matrix(verb, "--matrix", str(root / "matrix.yaml"), option, "slurn") == (
        2,
        "",
        "echo-matrix: --cluster is 'slurn', which is neither a file nor a known name; did you mean 'slurm'?; allowed: "
        f"fake, local, ray, slurm, or a file such as {root / 'cluster' / 'slurm.yaml'}\n",
    )


def test_without_slurm_on_path_a_run_on_it_ends_with_2_and_books_nothing(
    echo_matrix: Callable[..., Said], tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ECHO_MATRIX_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    code, out, err = echo_matrix(
        "run", "--matrix", str(root / "matrix.yaml"), "--backend", "slurm", "--rows", "context-k1"
    )
    assert code == 2
    assert out.startswith("echo-memory · laptop: 11 of 11 jobs to do\n")
    assert "started" not in out
    assert err == (
        "echo-matrix: not on PATH: sbatch, srun, squeue, scancel, scontrol; log in to a machine of the cluster, or "
        "load its module (such as `module load slurm`)\n"
    )
    with Ledger.read(tmp_path / "echo-memory" / NAME) as ledger:
        assert ledger.attempts() == []
        assert ledger.last_plan() is None, "a run that was refused is not the last run"


def test_where_a_job_that_is_not_done_would_be_is_not_told_but_its_state(
    echo_matrix: Callable[..., Said], tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ECHO_MATRIX_HOME", str(tmp_path))
    assert echo_matrix("path", "--matrix", str(root / "matrix.yaml"), "train/context-k1/s0") == (
        1,
        "",
        "echo-matrix: train/context-k1/s0 is not done (new: never run), so it has no result; `run` makes it\n",
    )


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_each_verb_has_an_example(echo_matrix: Callable[..., Said], verb: str) -> None:
    code, out, _ = echo_matrix(verb, "--help")
    assert code == 0
    assert f"echo-matrix {verb}" in out.partition("Example")[2]


def test_help_names_no_stage_row_or_branch_of_a_study(echo_matrix: Callable[..., Said], root: Path) -> None:
    plan = open_study(root / "matrix.yaml").plan
    names = {cell.row for cell in plan.cells} | {f"{job.stage}/" for job in plan.jobs.values()}
    names |= {f"family:{cell.family}" for cell in plan.cells} | {"replay", "judge"}
    for verb in VERBS:
        _, out, _ = echo_matrix(verb, "--help")
        assert not {name for name in names if name in out}, verb


def test_without_a_verb_the_help_is_shown_and_nothing_is_done(echo_matrix: Callable[..., Said]) -> None:
    code, out, _ = echo_matrix()
    assert code == 2
    assert all(f"  {verb} " in out for verb in VERBS)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run", "--rows", "context-k9"), "no row 'context-k9' in this matrix; did you mean 'context-k5'"),
        (("run", "--refresh", "train/context-k9/s0"), "no job 'train/context-k9/s0' in the plan"),
        (("run", "--detach", "controls.training.stepps=3"), "did you mean 'controls.training.steps'"),
        (("run", "--detach", "--profile", "lap"), "profile 'lap' is unknown; did you mean 'laptop'"),
        (("logs", "train/context-k5/s0"), "train/context-k5/s0 has not been attempted yet; see `echo-matrix explain"),
        (("logs", "train/context-k5/s0", "--follow"), "train/context-k5/s0 has not been attempted yet"),
        (
            ("logs", "train/context-k5/s0", "--attempt", "a7"),
            "no attempt 'a7' of train/context-k5/s0 (attempts: none yet)",
        ),
        (("explain", "nothing"), "no job 'nothing' in the plan"),
        (("retry",), "retry needs jobs"),
    ],
)
def test_bad_input_ends_with_2_and_says_where(
    echo_matrix: Callable[..., Said],
    rehearsal: Rehearsal,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    said: str,
) -> None:
    monkeypatch.setenv("ECHO_MATRIX_HOME", str(rehearsal.folder))
    code, out, err = echo_matrix(*rehearsal.line(*arguments)[1:])
    assert (code, out) == (2, "")
    assert err.startswith("echo-matrix: ")
    assert said in err
    assert err.count("\n") == 1
    assert not (rehearsal.home / "store").exists()


@pytest.mark.parametrize("seconds", ["fast", "nan", "inf", "-1"])
def test_a_rehearsal_takes_seconds_that_end(
    echo_matrix: Callable[..., Said], rehearsal: Rehearsal, monkeypatch: pytest.MonkeyPatch, seconds: str
) -> None:
    monkeypatch.setenv("ECHO_MATRIX_HOME", str(rehearsal.folder))
    monkeypatch.setenv("ECHO_MATRIX_FAKE_S", seconds)
    code, _, err = echo_matrix(*rehearsal.line("run", "--rows", "context-k1", "--json")[1:])
    assert code != 0 and f"$ECHO_MATRIX_FAKE_S is '{seconds}'; allowed: seconds an attempt" in err
    assert "Traceback" not in err


def test_each_verb_that_answers_prints_one_json_object_and_nothing_else(
    echo_matrix: Callable[..., Said], rehearsal: Rehearsal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ECHO_MATRIX_HOME", str(rehearsal.folder))
    monkeypatch.setenv("ECHO_MATRIX_FAKE_S", "0")
    lines = {
        "run": ("--rows", "context-k1"),
        "plan": (),
        "status": (),
        "explain": ("data",),
        "logs": ("data",),
        "show": ("data",),
        "path": ("data",),
        "stop": (),
        "doctor": (),
        "gc": (),
        "cancel": ("train/context-k5/s0",),
        "retry": ("train/context-k5/s0",),
    }
    for verb, arguments in lines.items():
        code, out, _ = echo_matrix(*rehearsal.line(verb, *arguments, "--json")[1:])
        assert code == 0, verb
        assert isinstance(json.loads(out), dict), verb


def test_a_bug_is_shown_whole_and_without_the_secrets_of_the_environment(
    echo_matrix: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(**_: object) -> None:
        raise ZeroDivisionError("the token is hunter2-hunter2")

    monkeypatch.setenv("JUDGE_API_KEY", "hunter2-hunter2")
    monkeypatch.setattr(cli, "app", broken)
    code, out, said = echo_matrix("plan")
    assert (code, out) == (1, "")
    assert said.startswith("Traceback") and "ZeroDivisionError: the token is ***" in said


def test_ctrl_c_in_a_command_says_how_to_continue(
    monkeypatch: pytest.MonkeyPatch, echo_matrix: Callable[..., Said], root: Path
) -> None:
    def press(*_arguments: object, **_options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("orchestrator.commands.options.open_study", press)
    assert echo_matrix("plan", "--matrix", str(root / "matrix.yaml")) == (
        130,
        "",
        "echo-matrix: interrupted; run the same command again to continue\n",
    )


def test_ctrl_c_while_a_command_is_imported_says_how_to_continue(
    monkeypatch: pytest.MonkeyPatch, echo_matrix: Callable[..., Said]
) -> None:
    def press(_name: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "find_command", press)
    assert echo_matrix("plan") == (130, "", "echo-matrix: interrupted; run the same command again to continue\n")


def test_ctrl_c_while_the_command_line_is_read_says_how_to_continue(
    monkeypatch: pytest.MonkeyPatch, echo_matrix: Callable[..., Said]
) -> None:
    def press(*_arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("typer.core.TyperGroup.parse_args", press)
    assert echo_matrix("plan") == (130, "", "echo-matrix: interrupted; run the same command again to continue\n")
