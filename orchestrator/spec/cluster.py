"""Cluster configuration (cluster/*.yaml): where and how a study runs. No part of it enters a fingerprint.

Each backend has a section of its own name; the caller passes the backends.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import MISSING, dataclass, field, fields, make_dataclass, replace
from pathlib import Path
from typing import Any, Literal, NoReturn, Protocol, TypeVar, get_type_hints

import yaml

from orchestrator.errors import MatrixError
from orchestrator.spec.lines import Place, compose_file, nearest, place_of, refuse
from orchestrator.spec.typed import Reader, build
from workloads.contract.fields import Count, Natural, NonNegative, Positive
from workloads.contract.workload import Workload

Settings = TypeVar("Settings")

FOLDER = "cluster"
"""Folder of cluster files, beside the matrix."""
LOCAL = "local"
"""Name of the default cluster."""


@dataclass(frozen=True, kw_only=True)
class SectionSource:
    """Where a backend's section was read, for checks and messages of the backend."""

    file: Path
    places: Mapping[str, int]
    """Dotted key -> its line."""
    stages: tuple[str, ...]
    """Stages of the workload."""

    def has(self, key: str) -> bool:
        """Whether the file has this key."""
        return key in self.places

    def refuse(self, key: str, problem: str) -> NoReturn:
        """Raise a MatrixError for a key, with its line or that of the enclosing section."""
        around = key
        while around not in self.places and "." in around:
            around = around.rpartition(".")[0]
        refuse(Place(str(self.file), self.places.get(around)), key, problem)


class BackendSection(Protocol):
    """What reading a backend's section needs of it (`orchestrator.backends.plugin`)."""

    @property
    def settings(self) -> type:
        """Frozen dataclass of the section; all fields have defaults."""

    @property
    def complete(self) -> Callable[[Any, SectionSource], Any]:
        """Validates settings beyond their types, and returns the ones to use."""


@dataclass(frozen=True, kw_only=True)
class StoreSettings:
    """The artifact store."""

    kind: Literal["files"]


@dataclass(frozen=True, kw_only=True)
class TrackingSettings:
    """The tracker; without a uri: SQLite in the outputs folder."""

    kind: Literal["mlflow", "none"]
    uri: str | None


@dataclass(frozen=True, kw_only=True)
class RetrySettings:
    """How many failed attempts a job may have before it fails, by ending."""

    error: Natural
    out_of_memory: Natural
    vanished: Natural
    free_in_a_row: Count


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """Settings that may change without changing the meaning of a result."""

    backend: str
    store: StoreSettings
    tracking: TrackingSettings
    retries: RetrySettings
    pause_after: Count
    """So many jobs of a stage that fail with the same error pause the stage."""
    grace_s: NonNegative
    idle_s: NonNegative
    unknown_s: Positive
    checkpoint_every_s: Positive
    deepspeed: Mapping[str, Any]
    deterministic: bool
    keep: Literal["weights", "full"]
    paths: Mapping[str, str]
    device_gib: Positive | None = None
    """Memory of one accelerator; a plan predicted to need more is refused. None: not known."""
    avoid_s: NonNegative = 3600.0
    """How long a host is excluded after two attempts without progress, while others are available."""
    orphan_s: Positive = 3600.0
    """After this long without a controller, hosts on a running cluster end by themselves."""
    on_event: str | None = None
    """A command that receives each notification as JSON on its standard input."""
    sections: Mapping[str, Any] = field(default_factory=dict)
    """Backend -> its settings, if the file has a section of that name."""

    def section(self, name: str, settings: Callable[[], Settings]) -> Settings:
        """The settings of a backend; `settings()` if the file has no such section."""
        found: Settings = self.sections[name] if name in self.sections else settings()
        return found


BUILT_IN = Cluster(
    backend="ray",
    store=StoreSettings(kind="files"),
    tracking=TrackingSettings(kind="mlflow", uri=None),
    retries=RetrySettings(error=1, out_of_memory=1, vanished=3, free_in_a_row=10),
    pause_after=3,
    grace_s=20.0,
    idle_s=60.0,
    unknown_s=1800.0,
    checkpoint_every_s=30.0,
    deepspeed={},
    deterministic=True,
    keep="weights",
    paths={},
)
"""The settings of `local` without a cluster/local.yaml beside the matrix."""


def is_name(chosen: Path, backends: Collection[str]) -> bool:
    """Whether the choice is a name, to be looked up beside the matrix, and not a file."""
    return len(chosen.parts) == 1 and not chosen.suffix and (str(chosen) in (LOCAL, *backends) or not chosen.is_file())


def cluster_file(chosen: Path | None, beside: Path, backends: Collection[str]) -> Path:
    """The cluster file of a choice, whether it exists or not; the file of a name is beside the matrix `beside`."""
    chosen = chosen or Path(LOCAL)
    if not is_name(chosen, backends):
        return chosen
    return (beside if beside.is_dir() else beside.parent) / FOLDER / f"{chosen}.yaml"


def load_cluster(
    chosen: Path | None, beside: Path, workload: Workload, backends: Mapping[str, BackendSection]
) -> Cluster:
    """Load the chosen cluster: a file, or a name.

    Args:
        chosen: a file; or `local`, a backend, or any NAME with a cluster/NAME.yaml beside the matrix. None: `local`.
            Without such a file, the name of a backend means the built-in settings with that backend.
        beside: the matrix, or its folder.
        workload: of the matrix; for its stages and its DeepSpeed restrictions.
        backends: by name (`orchestrator.backends.registry.backends`).

    Raises:
        MatrixError: no such file or name, an unknown or missing key, a wrong type, or a value out of range.
        BackendError: the backend of a section cannot be loaded.
    """
    path = cluster_file(chosen, beside, backends)
    name = str(chosen or LOCAL)
    if is_name(Path(name), backends) and not path.exists():
        if name == LOCAL:
            return BUILT_IN
        if name in backends:
            return replace(BUILT_IN, backend=name)
        names = sorted({LOCAL, *backends, *(one.stem for one in path.parent.glob("*.yaml"))})
        raise MatrixError(
            f"--cluster is {name!r}, which is neither a file nor a known name{nearest(name, names)}; "
            f"allowed: {', '.join(names)}, or a file such as {path.parent / 'slurm.yaml'}"
        )
    return _read(path, workload, backends)


def _read(path: Path, workload: Workload, backends: Mapping[str, BackendSection]) -> Cluster:
    node = compose_file(path)
    _refuse_s3(node, path)
    written = {key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)}
    sections = {name: backends[name] for name in backends if name in written}
    reader = Reader(str(path), {})
    values = reader.section(node, _description(sections, backends), "")
    source = SectionSource(file=path, places=reader.places, stages=tuple(workload.by_name))
    read = {
        name: backend.complete(build(backend.settings, values.pop(name)), source) for name, backend in sections.items()
    }
    cluster: Cluster = replace(build(Cluster, values), sections=read)
    found = workload.deepspeed_problem(cluster.deepspeed)
    if found is not None:
        source.refuse(f"deepspeed.{found[0]}", found[1])
    return cluster


def _description(sections: Mapping[str, BackendSection], backends: Collection[str]) -> type:
    """The whole file as one dataclass, so that messages list every allowed key."""
    found: list[Any] = []
    hints = get_type_hints(Cluster, include_extras=True)
    hints["backend"] = Literal[tuple(backends)]
    for one in fields(Cluster):
        if one.name != "sections":
            required = one.default is MISSING
            found.append((one.name, hints[one.name], *(() if required else (field(default=one.default),))))
    for name in backends:
        found.append((name, sections[name].settings if name in sections else Any, field(default=None)))
    return make_dataclass("ClusterFile", found, kw_only=True)


def _refuse_s3(node: yaml.MappingNode, path: Path) -> None:
    for key, section in node.value:
        for name, value in section.value if key.value == "store" and isinstance(section, yaml.MappingNode) else ():
            if name.value == "kind" and value.value == "s3":
                problem = "is 's3'; stores on S3 are not supported yet; allowed: files"
                refuse(place_of(value, str(path)), "store.kind", problem)
