"""Planning imports nothing that computes, schedules or tracks."""

import subprocess
import sys
from pathlib import Path

import pytest
from recorded_run import record, write_matrix

from orchestrator.commands.command import declared_commands, find_command, find_commands
from orchestrator.opening import open_study

HEAVY = ("torch", "ray", "mlflow", "boto3", "scipy", "numpy", "deepspeed", "matplotlib", "pandas")


def test_loading_and_planning_import_nothing_heavy(root: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from orchestrator.plan import build, diff, fingerprint, job, select, show\n"
        "from orchestrator.spec import cluster, controls, expand, load\n"
        "m = load.resolve_profile(load.load_matrix(Path('matrix.yaml')), 'laptop', [])\n"
        "p = build.build_plan(m, expand.expand(m))\n"
        "show.plan_json(p, diff.standings(p, frozenset(), {}, {}))\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert not set(HEAVY) & set(done.stdout.split())


def imported(line: str, folder: Path) -> set[str]:
    """Modules that one command line imports; that it succeeded is asserted."""
    code = (
        f"import sys\nfrom orchestrator import cli\nsys.argv = {['echo-matrix', *line.split()]!r}\n"
        "try:\n    cli.main()\nexcept SystemExit as done:\n    assert not done.code\n"
        "print(*sorted(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True)
    return set(done.stderr.split())


@pytest.mark.slow
def test_help_and_status_import_only_what_they_show(tmp_path: Path) -> None:
    matrix = write_matrix(tmp_path / "matrix.yaml")
    for_help = imported("--help", tmp_path)
    unwanted = {
        "orchestrator.opening",
        "orchestrator.study",
        "yaml",
        "pydantic",
        "rich",
        "omegaconf",
        "importlib.metadata",
    }
    assert not for_help & {*HEAVY, *unwanted}
    record(open_study(matrix), 1.0)
    for_status = imported("status", tmp_path)
    assert "orchestrator.study" in for_status
    unwanted = {"rich", "omegaconf", "pydantic", "orchestrator.host.node", "orchestrator.commands.run.command"}
    assert not for_status & {*HEAVY, *unwanted, "reports"}


def test_each_command_is_in_a_module_of_its_name_where_it_is_found_without_reading_the_others() -> None:
    for one in declared_commands():
        assert find_command(one.name) is one.load()
    for name in ("options", "command", "../cli", "", "no-such"):
        with pytest.raises(KeyError):
            find_command(name)


def test_what_help_reads_in_the_source_of_a_command_is_what_the_command_says() -> None:
    declared, loaded = declared_commands(), find_commands()
    assert len(declared) > 15
    for one, command in zip(declared, loaded, strict=True):
        assert (one.name, one.group, one.position) == (command.name, command.group, command.position)
        assert one.summary == " ".join((command.function.__doc__ or "").partition("\n\n")[0].split())
