"""cluster/*.yaml: where and how a study runs on these machines. Nothing here enters a fingerprint."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

from orchestrator.errors import MatrixError
from orchestrator.spec.lines import Place, compose_file, listed, nearest, refuse
from orchestrator.spec.slurm import Slurm
from orchestrator.spec.typed import Reader, build
from workloads.contract.fields import Count, Natural, NonNegative, Positive
from workloads.contract.workload import Workload

FOLDER = "cluster"
"""Where descriptions are looked for, beside the matrix."""
LOCAL = "local"
"""The description where none is named."""
BackendName = Literal["ray", "slurm", "fake"]
BACKENDS: tuple[BackendName, ...] = get_args(BackendName)
NAMES = (LOCAL, *BACKENDS)
"""What `--cluster` takes beside a file: cluster/NAME.yaml, or the built-in values with that backend."""


@dataclass(frozen=True, kw_only=True)
class Ray:
    """The Ray cluster. None: what this machine has."""

    address: str
    """`local`: a cluster that lives and dies with the driver; else the address of a standing one."""
    cpus: Count | None
    devices: Natural | None
    memory_gib: Positive | None


@dataclass(frozen=True, kw_only=True)
class StoreSettings:
    """Where artifacts live; credentials come from the environment alone."""

    kind: Literal["files", "s3"]
    bucket: str | None = None
    """s3 only."""
    prefix: str | None = None
    endpoint: str | None = None
    """s3 only; None: Amazon's."""


@dataclass(frozen=True, kw_only=True)
class TrackingSettings:
    """The tracker; None as uri: SQLite beside the outputs."""

    kind: Literal["mlflow", "none"]
    uri: str | None


@dataclass(frozen=True, kw_only=True)
class Retries:
    """How many attempts each ending may cost a job."""

    error: Natural
    out_of_memory: Natural
    vanished: Natural
    free_in_a_row: Count


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """All that may change without changing the meaning of a result."""

    backend: BackendName
    store: StoreSettings
    tracking: TrackingSettings
    retries: Retries
    pause_after: Count
    """Cells that fail alike pause their stage."""
    grace_s: NonNegative
    idle_s: NonNegative
    unknown_s: Positive
    checkpoint_every_s: Positive
    deepspeed: Mapping[str, Any]
    deterministic: bool
    keep: Literal["weights", "full"]
    paths: Mapping[str, str]
    device_gib: Positive | None = None
    """Memory of one accelerator; a row whose training is predicted to need more is refused. None: not known."""
    avoid_s: NonNegative = 3600.0
    """How long a host with two endings without progress is avoided, while there are others."""
    orphan_s: Positive = 3600.0
    """After this long without a driver, hosts on a standing cluster end by themselves."""
    on_event: str | None = None
    """A command that is told, as JSON on its standard input, what finished, failed, was paused or is unknown."""
    ray: Ray = Ray(address="local", cpus=None, devices=None, memory_gib=None)
    slurm: Slurm = field(default_factory=Slurm)


BUILT_IN = Cluster(
    backend="ray",
    store=StoreSettings(kind="files"),
    tracking=TrackingSettings(kind="mlflow", uri=None),
    retries=Retries(error=1, out_of_memory=1, vanished=3, free_in_a_row=10),
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
"""cluster/local.yaml, for a matrix that has none beside it."""


def is_name(chosen: Path) -> bool:
    """Whether what was chosen is a name, to be looked for beside the matrix, and not a file."""
    return len(chosen.parts) == 1 and not chosen.suffix and (str(chosen) in NAMES or not chosen.is_file())


def cluster_file(chosen: Path | None, beside: Path) -> Path:
    """Where the chosen cluster is described, or would be: a name's file lies beside the matrix `beside`."""
    chosen = chosen or Path(LOCAL)
    if not is_name(chosen):
        return chosen
    return (beside if beside.is_dir() else beside.parent) / FOLDER / f"{chosen}.yaml"


def load_cluster(chosen: Path | None, beside: Path, workload: Workload) -> Cluster:
    """The cluster that was chosen: a file, or a name.

    Args:
        chosen: a file; or one of `NAMES`, or any NAME with a cluster/NAME.yaml beside the matrix. None: `local`.
            Where there is no such file of one of `NAMES`: the built-in values with that backend.
        beside: the matrix, or its folder.
        workload: of the matrix: its stages, and what it fixes of DeepSpeed.

    Raises:
        MatrixError: no such file or name, an unknown or missing key, a wrong type, or a value out of range.
    """
    path = cluster_file(chosen, beside)
    name = str(chosen or LOCAL)
    if is_name(Path(name)) and not path.exists():
        if name == LOCAL:
            return BUILT_IN
        for backend in BACKENDS:
            if name == backend:
                return replace(BUILT_IN, backend=backend)
        names = sorted({*NAMES, *(one.stem for one in path.parent.glob("*.yaml"))})
        raise MatrixError(
            f"--cluster is {name!r}, which is neither a file nor a name{nearest(name, names)}; "
            f"allowed: {', '.join(names)}, or a file such as {path.parent / 'slurm.yaml'}"
        )
    reader = Reader(str(path), {})
    values = reader.section(compose_file(path), Cluster, "")
    cluster: Cluster = build(Cluster, values)
    found = workload.deepspeed_problem(cluster.deepspeed)
    if found is not None:
        refuse(Place(str(path), reader.places["deepspeed"]), f"deepspeed.{found[0]}", found[1])
    for stage in cluster.slurm.stages:
        if stage not in workload.by_name:
            place = reader.places.get(f"slurm.stages.{stage}", reader.places.get("slurm"))
            raise MatrixError(
                f"{path}:{place}: slurm.stages.{stage} is unknown; allowed: {', '.join(workload.by_name)}"
            )
    packed = cluster.slurm.packed
    for i, stage in enumerate(() if packed is None or packed.stages is None else packed.stages):
        if stage not in workload.by_name:
            key = "slurm.packed.stages"
            here = Place(str(path), reader.places[key])
            refuse(here, f"{key}[{i}]", f"is {stage!r}{nearest(stage, workload.by_name)}{listed(workload.by_name)}")
    options = {"every": cluster.slurm.every, "packed": packed}
    options |= {f"stages.{stage}": where for stage, where in cluster.slurm.stages.items()}
    for key, where in options.items():
        for option in () if where is None else where.sbatch:
            if re.match(r"-[^-]", option.strip().removeprefix("#SBATCH").strip()):
                name = f"slurm.{key}.sbatch"
                why = f"has {option!r}; write its long form, such as --partition=short"
                refuse(Place(str(path), reader.places[name]), name, why)
    if packed is not None and packed.gpus is not None and not packed.devices:
        raise MatrixError(
            f"{path}:{reader.places['slurm.packed.gpus']}: slurm.packed.gpus is {packed.gpus!r}, but "
            "slurm.packed.devices is 0; say there how many devices of a node its jobs may use"
        )
    if cluster.store.kind == "s3" and not cluster.store.bucket:
        raise MatrixError(f"{path}:{reader.places['store']}: store.bucket is missing; kind: s3 needs one")
    return cluster
