"""Cluster configuration (cluster/*.yaml): where and how a study runs. No part of it enters a fingerprint.

A file says `backend` and what differs from that backend's defaults, key by key, also inside sections. Each backend has
a section of its own name; the caller passes the backends.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, make_dataclass, replace
from pathlib import Path
from typing import Any, Literal, NoReturn, Protocol, TypeVar, get_type_hints

import yaml

from orchestrator.errors import MatrixError
from orchestrator.spec.assignments import assigned, mapping_of
from orchestrator.spec.lines import SET, Place, compose_file, nearest, place_of, refuse
from orchestrator.spec.store import StoreSettings, check_store, url_instead
from orchestrator.spec.typed import Reader, build
from workloads.contract.fields import Count, Natural, NonNegative, Positive
from workloads.contract.workload import Workload

Settings = TypeVar("Settings")

SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
"""Of a URL."""
PATTERN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\*?")
"""Of a variable's name."""
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
    given: Collection[str] = ()
    """Dotted keys of `--set`."""

    def has(self, key: str) -> bool:
        """Whether the file or `--set` has this key."""
        return key in self.places or key in self.given

    def refuse(self, key: str, problem: str) -> NoReturn:
        """Raise a MatrixError for a key, with its line or that of the enclosing section."""
        around = key
        while not self.has(around) and "." in around:
            around = around.rpartition(".")[0]
        if around in self.given:
            refuse(Place(SET, None), key, problem)
        refuse(Place(str(self.file), self.places.get(around)), key, problem)


class BackendSection(Protocol):
    """What reading a backend's section needs of it (`orchestrator.backends.plugin`)."""

    @property
    def settings(self) -> type:
        """Frozen dataclass of the section; all fields have defaults."""

    @property
    def complete(self) -> Callable[[Any, SectionSource], Any]:
        """Validates settings beyond their types, and returns the ones to use."""

    @property
    def defaults(self) -> Mapping[str, Any]:
        """Keys of `Cluster` whose default differs for this backend; a section as a mapping of such keys."""


@dataclass(frozen=True, kw_only=True)
class TrackingSettings:
    """The tracker; without a uri: SQLite in the outputs folder."""

    kind: Literal["mlflow", "none"] = "mlflow"
    """none: nothing is tracked."""
    uri: str | None = None
    """Address of an MLflow server; null: SQLite below outputs/."""
    system_metrics: bool = False
    """true: trainings write the use of processors, memory and accelerators of their first host beside their metrics."""


@dataclass(frozen=True, kw_only=True)
class EnvironmentSettings:
    """Variables of the shell that child processes get too: names, or `PREFIX_*`. `doctor` says what they get anyway."""

    jobs: tuple[str, ...] = ()
    """Of all jobs."""
    tracking: tuple[str, ...] = ()
    """Of the process that writes to MLflow."""
    on_event: tuple[str, ...] = ()
    """Of the command `on_event`."""


@dataclass(frozen=True, kw_only=True)
class RetrySettings:
    """How many failed attempts a job may have before it fails, by ending."""

    error: Natural = 1
    """After an error, or a time limit without progress."""
    out_of_memory: Natural = 1
    """After running out of memory; each with a smaller micro-batch."""
    vanished: Natural = 3
    """After an attempt that ended without a trace."""
    free_in_a_row: Count = 10
    """After interruptions, preemptions and lost nodes without progress in between."""


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """Settings that may change without changing the meaning of a result."""

    backend: str
    """What takes the attempts."""
    store: StoreSettings = field(default_factory=StoreSettings)
    tracking: TrackingSettings = TrackingSettings()
    retries: RetrySettings = RetrySettings()
    pause_after: Count = 3
    """So many jobs of a stage that fail with the same error pause the stage."""
    grace_s: NonNegative = 20.0
    """Between an attempt being asked to stop and being killed."""
    idle_s: NonNegative = 60.0
    """After so long without work, hosts end."""
    unknown_s: Positive = 1800.0
    """How long an attempt may be unknown to its backend before it counts as lost."""
    checkpoint_every_s: Positive = 30.0
    """Between two checkpoints of an attempt."""
    deepspeed: Mapping[str, Any] = field(default_factory=dict)
    """Added to the study's own settings of DeepSpeed."""
    deterministic: bool = True
    """Torch's deterministic algorithms: the same bits at every run on the same kind of machine."""
    keep: Literal["weights", "full"] = "weights"
    """`full`: the optimiser's state is published too."""
    keep_stable: bool = True
    """Where a longer job can continue a shorter one, the state with which it begins is published too."""
    keep_videos_gib: NonNegative | None = None
    """So much of the videos of finished evaluations is kept when `gc` removes something, the newest. None: all."""
    paths: Mapping[str, str] = field(default_factory=dict)
    """Name -> where the data or weights are that the matrix names."""
    device_gib: Positive | None = None
    """Memory of one accelerator; a plan predicted to need more is refused. None: not known."""
    slots: Mapping[str, Count] = field(default_factory=dict)
    """Name -> how many jobs at a time, over all hosts: of the stage of this name, or by `resources.STAGE.slots`."""
    confirm_above_device_hours: NonNegative | None = None
    """`run` asks before it starts jobs that are estimated to cost more, in a terminal. None: it does not ask."""
    avoid_s: NonNegative = 3600.0
    """How long a host is excluded after two attempts without progress, while others are available."""
    orphan_s: Positive = 3600.0
    """After this long without a controller, hosts on a running cluster end by themselves."""
    on_event: str | None = None
    """A command that receives each notification as JSON on its standard input."""
    environment: EnvironmentSettings = EnvironmentSettings()
    sections: Mapping[str, Any] = field(default_factory=dict)
    """Backend -> its settings, if the file has a section of that name."""

    def section(self, name: str, settings: Callable[[], Settings]) -> Settings:
        """The settings of a backend; `settings()` if the file has no such section."""
        found: Settings = self.sections[name] if name in self.sections else settings()
        return found


BUILT_IN = Cluster(backend="ray")
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
    chosen: Path | None,
    beside: Path,
    workload: Workload,
    backends: Mapping[str, BackendSection],
    assignments: Sequence[str] = (),
) -> Cluster:
    """Load the chosen cluster: a file, or a name.

    Args:
        chosen: a file; or `local`, a backend, or any NAME with a cluster/NAME.yaml beside the matrix. None: `local`.
            Without such a file, the name of a backend means that backend with its defaults.
        beside: the matrix, or its folder.
        workload: of the matrix; for its stages and its DeepSpeed restrictions.
        backends: by name (`orchestrator.backends.registry.backends`).
        assignments: `KEY=VALUE` texts, which come before the file.

    Raises:
        MatrixError: no such file or name, an unknown or missing key, a wrong type, or a value out of range.
        BackendError: the backend, or that of a section, cannot be loaded.
    """
    path = cluster_file(chosen, beside, backends)
    name = str(chosen or LOCAL)
    if not is_name(Path(name), backends) or path.exists():
        node = compose_file(path)
    elif name in (LOCAL, *backends):
        node = mapping_of(backend=BUILT_IN.backend if name == LOCAL else name)
    else:
        names = sorted({LOCAL, *backends, *(one.stem for one in path.parent.glob("*.yaml"))})
        raise MatrixError(
            f"--cluster is {name!r}, which is neither a file nor a known name{nearest(name, names)}; "
            f"allowed: {', '.join(names)}, or a file such as {path.parent / 'slurm.yaml'}"
        )
    return _read(assigned(node, assignments, str(path)), path, workload, backends)


def _read(node: yaml.MappingNode, path: Path, workload: Workload, backends: Mapping[str, BackendSection]) -> Cluster:
    _refuse_bucket(node, path)
    written = {key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)}
    sections = {name: backends[name] for name in backends if name in written}
    reader = Reader(str(path), {})
    values = reader.section(node, _description(sections, backends), "")
    source = SectionSource(
        file=path, places=reader.places, stages=tuple(workload.by_name), given=frozenset(reader.without_line)
    )
    read = {
        name: backend.complete(build(backend.settings, values.pop(name)), source) for name, backend in sections.items()
    }
    values = _merged(backends[values["backend"]].defaults, values)
    cluster: Cluster = replace(build(Cluster, values), sections=read)
    check_store(cluster.store, source.has, source.refuse)
    uri = cluster.tracking.uri
    if uri is not None and uri != "databricks" and not SCHEME.match(uri):  # MLflow would write into a folder
        source.refuse("tracking.uri", f"is {uri!r}; write https://HOST or http://HOST:PORT")
    for key in (one.name for one in fields(EnvironmentSettings)):
        for pattern in getattr(cluster.environment, key):
            if not PATTERN.fullmatch(pattern):
                problem = f"has {pattern!r}; allowed: names of variables, and their beginnings, such as DATA_*"
                source.refuse(f"environment.{key}", problem)
    found = workload.deepspeed_problem(cluster.deepspeed)
    if found is not None:
        source.refuse(f"deepspeed.{found[0]}", found[1])
    return cluster


def _merged(defaults: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """`values` over `defaults`, key by key, also inside sections."""
    merged = {**defaults, **values}
    for key, default in defaults.items():
        if isinstance(default, Mapping) and isinstance(values.get(key), Mapping):
            merged[key] = _merged(default, values[key])
    return merged


def _description(sections: Mapping[str, BackendSection], backends: Collection[str]) -> type:
    """The whole file as one dataclass, so that messages list every allowed key."""
    found: list[Any] = []
    hints = get_type_hints(Cluster, include_extras=True)
    hints["backend"] = Literal[tuple(backends)]
    for one in fields(Cluster):
        if one.name != "sections":
            required = one.default is MISSING and one.default_factory is MISSING
            found.append((one.name, hints[one.name], *(() if required else (field(default=None),))))
    for name in backends:
        found.append((name, sections[name].settings if name in sections else Any, field(default=None)))
    return make_dataclass("ClusterFile", found, kw_only=True)


def _refuse_bucket(node: yaml.MappingNode, path: Path) -> None:
    for key, section in node.value:
        if key.value != "store" or not isinstance(section, yaml.MappingNode):
            continue
        written = {name.value: value.value for name, value in section.value if isinstance(value, yaml.ScalarNode)}
        for name, value in section.value:
            if name.value in written and (line := url_instead(name.value, written)):
                refuse(place_of(value, str(path)), f"store.{name.value}", f"is not a key; write {line}")
