"""`init`: write a small matrix and a cluster file, with comments, from which a study begins.

The texts are templates: those of a study belong to its workload (`Workload.template`), those of cluster files to the
backends (`BackendPlugin.templates`), and the package of a new study to the contract of workloads.
"""

import importlib.resources
import importlib.util
import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from keyword import iskeyword
from pathlib import Path
from string import Template
from typing import Annotated

import typer

from orchestrator.backends.registry import backends
from orchestrator.commands.command import Command, Group
from orchestrator.commands.options import DEFAULT_MATRIX, JsonOption
from orchestrator.errors import PlanError
from orchestrator.spec.cluster import FOLDER, LOCAL
from orchestrator.spec.lines import Place, listed, nearest
from orchestrator.spec.load import load_matrix
from orchestrator.spec.parts import check_name
from orchestrator.spec.workload import workload_of
from orchestrator.ui.terminal import print_json
from workloads.contract.request import DEFAULT_WORKLOAD
from workloads.contract.workload import Workload

SKELETON = "workloads.contract"
"""Package with the folder `skeleton`: the files of a new study."""
SKELETON_STAGES = ("sample", "estimate")


def init(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where the study is to lie.")] = Path(),
    *,
    backend: Annotated[
        str,
        typer.Option("--backend", metavar="NAME", help="Where it runs: local, ray, slurm or fake.", show_default=True),
    ] = LOCAL,
    study: Annotated[
        str | None,
        typer.Option("--study", metavar="NAME", help="Its name. Default: that of the workload."),
    ] = None,
    workload: Annotated[
        str | None,
        typer.Option(
            "--workload",
            metavar="PACKAGE.MODULE",
            help="The code of the study. If it is not installed, a small package that runs is written. Default: the "
            "built-in study.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write a small matrix.yaml and a cluster file, with comments.

    Overwrites nothing. A matrix.yaml that is there is left as it is, and only a missing cluster file is written; if
    anything else exists, nothing is written.
    """
    matrix = folder / DEFAULT_MATRIX
    cluster = Path(FOLDER) / f"{backend}.yaml"
    adds = study is None and workload is None and matrix.is_file() and not os.path.lexists(folder / cluster)
    if adds:
        files = {cluster: cluster_text(backend, example_stage(load_matrix(matrix).workload))}
    else:
        begun = begin_study(folder, study, workload)
        files = {**begun.files, cluster: cluster_text(backend, begun.stage)}
    written = [folder / path for path in files]
    if existing := [str(path) for path in written if os.path.lexists(path)]:
        raise PlanError(f"{', '.join(existing)}: exists; nothing was written: name another FOLDER, or move it away")
    for path, text in zip(written, files.values(), strict=True):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            raise PlanError(f"{path}: cannot be written: {error.strerror}; name another FOLDER") from error
    if as_json:
        print_json({"version": 1, "written": list(map(str, written))})
    else:
        lines = [f"left {matrix} as it is"] if adds else []
        print("\n".join([*lines, *(f"wrote {path}" for path in written), "", *next_commands(folder, backend)]))


COMMAND = Command(
    function=init,
    group=Group.RUN,
    position=-1,
    examples=[
        ("echo-matrix init", "the built-in study, small, on this machine"),
        ("echo-matrix init FOLDER --backend slurm", "in a folder of its own, on SLURM"),
        ("echo-matrix init FOLDER --workload mystudy.workload", "a package for a study of your own"),
    ],
)


@dataclass(frozen=True, kw_only=True)
class BegunStudy:
    """The files of a study that begins."""

    files: Mapping[Path, str]
    """Path in the study's folder -> text; without the cluster file."""
    stage: str
    """A stage, for examples in the cluster file."""


def begin_study(folder: Path, study: str | None, name: str | None) -> BegunStudy:
    """The files of a study in `folder`.

    Args:
        folder: where it is to lie.
        study: its name; None: that of the workload.
        name: `package.module` of its workload; None: the built-in one.

    Raises:
        MatrixError, PlanError: a name that cannot be, or a workload that has no template.
    """
    if study is not None:
        check_name(study, Place("--study", None), "the study")
    if name is not None and importlib.util.find_spec(name.partition(".")[0] or "-") is None:
        return _own_study(study, name)
    workload = workload_of(name or DEFAULT_WORKLOAD, folder / DEFAULT_MATRIX, Place("--workload", None))
    if workload.template is None:
        raise PlanError(
            f"--workload is {name}, which has no template; write {DEFAULT_MATRIX} as docs/tutorials/own-study.md shows"
        )
    text = Template(_resource(*workload.template)).substitute(study=study or workload.name)
    return BegunStudy(files={DEFAULT_MATRIX: text}, stage=example_stage(workload))


def example_stage(workload: Workload) -> str:
    """A stage of a workload, for examples in a cluster file: the first that trains, else the last."""
    return next((stage.name for stage in workload.stages if stage.curve), workload.stages[-1].name)


def _own_study(study: str | None, name: str) -> BegunStudy:
    package, _, module = name.partition(".")
    if not all(part.isascii() and part.isidentifier() and not iskeyword(part) for part in (package, module)):
        raise PlanError(f"--workload is {name!r}; allowed: PACKAGE.MODULE, such as mystudy.workload")
    if module in SKELETON_STAGES:
        raise PlanError(f"--workload is {name!r}, but a stage's module has this name; write {package}.workload")
    sources = {
        DEFAULT_MATRIX: "matrix.yaml",
        Path(package, f"{module}.py"): "workload.py.txt",
        **{Path(package, f"{stage}.py"): f"{stage}.py.txt" for stage in SKELETON_STAGES},
    }
    names = {"study": study or package, "package": package, "module": module}
    texts = {
        path: Template(_resource(SKELETON, f"skeleton/{source}")).substitute(names) for path, source in sources.items()
    }
    return BegunStudy(files={**texts, Path(package, "__init__.py"): ""}, stage=SKELETON_STAGES[-1])


def cluster_text(name: str, stage: str) -> str:
    """The cluster file `cluster/NAME.yaml`; `stage` is named in its examples.

    Raises:
        PlanError: no backend has one of this name; says which there are.
    """
    places = {file: place for plugin in backends().values() for file, place in plugin.templates.items()}
    if name not in places:
        raise PlanError(f"--backend is {name!r}{nearest(name, places)}{listed(places)}")
    return Template(_resource(*places[name])).substitute(stage=stage)


def next_commands(folder: Path, backend: str) -> list[str]:
    """What to run next."""
    there = [] if folder.resolve() == Path.cwd() else [f"  cd {shlex.quote(str(folder))}"]
    where = "" if backend == LOCAL else f" --backend {backend}"
    commands = {"doctor": "check that everything a run needs works", "plan": "what would run", "run": "run it"}
    return ["next:", *there, *(f"  echo-matrix {f'{verb}{where}':<24}  # {what}" for verb, what in commands.items())]


def _resource(package: str, file: str) -> str:
    return importlib.resources.files(package).joinpath(file).read_text(encoding="utf-8")
