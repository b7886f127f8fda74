"""cluster/*.yaml: where and how a study runs on these machines. Nothing here enters a fingerprint."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from orchestrator.errors import MatrixError
from orchestrator.spec.lines import compose_file
from orchestrator.spec.schema import Count, Natural, NonNegative, Positive
from orchestrator.spec.slurm import Slurm
from orchestrator.spec.typed import Reader, build
from workloads.contract.stages import STAGES

LOCAL = Path("cluster") / "local.yaml"
"""Where the description is looked for, beside the matrix."""


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

    backend: Literal["ray", "slurm", "fake"]
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


def load_cluster(path: Path | None, beside: Path) -> Cluster:
    """The cluster of `path`; without one, cluster/local.yaml beside the matrix `beside`, or the built-in values.

    Raises:
        MatrixError: no such file, an unknown or missing key, a wrong type, or a value out of range.
    """
    if path is None:
        path = (beside if beside.is_dir() else beside.parent) / LOCAL
        if not path.exists():
            return BUILT_IN
    reader = Reader(str(path), {})
    values = reader.section(compose_file(path), Cluster, "")
    cluster: Cluster = build(Cluster, values)
    for stage in cluster.slurm.stages:
        if stage not in STAGES:
            place = reader.places.get(f"slurm.stages.{stage}", reader.places.get("slurm"))
            raise MatrixError(f"{path}:{place}: slurm.stages.{stage} is unknown; allowed: {', '.join(STAGES)}")
    if cluster.store.kind == "s3" and not cluster.store.bucket:
        raise MatrixError(f"{path}:{reader.places['store']}: store.bucket is missing; kind: s3 needs one")
    return cluster
