"""What matrix.yaml may say: one frozen dataclass a section, with the type and range of every key.

`typed.py` reads YAML by these annotations, so a key is declared here once and nowhere else. There
are no defaults: matrix.yaml states every number. Memory rows are `workloads.study.rows`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, Literal

from orchestrator.spec.cell import Deviation, Resources
from workloads.study.rows import Row


@dataclass(frozen=True)
class Range:
    """Allowed numbers: `low` to `high`, ends included unless `above`."""

    low: float
    high: float | None = None
    above: bool = False
    """`low` itself is not allowed."""

    def holds(self, value: float) -> bool:
        """Whether `value` is allowed."""
        low = value > self.low if self.above else value >= self.low
        return low and (self.high is None or value <= self.high)

    def __str__(self) -> str:
        if self.high is not None:
            return f"{self.low} to {self.high}"
        return f"above {self.low}" if self.above else f"{self.low} and more"


Count = Annotated[int, Range(1)]
Natural = Annotated[int, Range(0)]
Share = Annotated[float, Range(0, 1)]
Positive = Annotated[float, Range(0, above=True)]
NonNegative = Annotated[float, Range(0)]
Perceptual = Literal["random", "alex", "vgg"]
"""Network of the perceptual distance. random: the stand-in; alex, vgg: LPIPS, its weights `paths.lpips`."""


@dataclass(frozen=True, kw_only=True)
class Data:
    """The pool of scenes. Source: study.md section 2."""

    source: Literal["worlds", "context-as-memory"]
    seed: Natural
    height: Count
    """Pixels."""
    width: Count
    chunk_frames: Annotated[int, Range(2)]
    """F; chunks share their boundary frame."""
    train_scenes: Count
    held_out_scenes: Count
    open_prompts: Count
    open_variants: Count
    translation_m: NonNegative
    returning_overlap: Share
    returning_share: Share


@dataclass(frozen=True, kw_only=True)
class Codec:
    """Frames to latents and captions to vectors. Source: study.md section 4."""

    kind: Literal["space-to-depth", "wan"]
    factor: Count
    """Pixels of a latent's side."""
    text: Literal["hashed", "umt5"]
    text_tokens: Count
    text_width: Count


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Which frames of the past a chunk may see. Source: study.md section 2."""

    frames: Count
    """K, anchor included, for every family but context."""
    rule: Literal["spread", "top"]
    min_overlap: Share
    drop: Share


@dataclass(frozen=True, kw_only=True)
class Action:
    """Where camera actions enter a block. Source: study.md section 3."""

    site: Literal["post_attention", "pre_norm", "pre_qkv", "pre_qkv_gated"]


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """The video diffusion transformer. Source: study.md section 4."""

    start: Literal["scratch", "wan"]
    """wan: the weights of Wan 2.1; where they lie is `paths.wan` in cluster/*.yaml."""
    width: Count
    blocks: Count
    heads: Count
    feed_forward: Count
    frequency_width: Annotated[int, Range(2)]
    recurrent_every: Count
    grid: Count
    grid_tokens: Count


@dataclass(frozen=True, kw_only=True)
class Training:
    """How a row is trained. Source: study.md section 6."""

    steps: Count
    global_batch: Count
    rate: Positive
    warmup_steps: Natural
    schedule: Literal["cosine", "constant"]
    floor: Share
    clip: Positive | None
    weight_decay: NonNegative
    shift: Positive
    precision: Literal["float32", "bfloat16"]
    spike_ratio: Annotated[float, Range(1, above=True)]
    sample_every: Natural


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """How a chunk is generated. Source: study.md section 7."""

    steps: Count
    guidance: Annotated[float, Range(1)]
    negative: str


@dataclass(frozen=True, kw_only=True)
class Judge:
    """Who scores a return. Source: study.md section 7."""

    name: Literal["mask", "vlm"]
    models: tuple[str, ...]
    """vlm: names of the models that score every case; mask: none."""
    tail_frames: Count
    min_overlap: Share


@dataclass(frozen=True, kw_only=True)
class Controls:
    """All that is held still."""

    data: Data
    codec: Codec
    evidence: Evidence
    action: Action
    backbone: Backbone
    training: Training
    sampler: Sampler
    judge: Judge


@dataclass(frozen=True, kw_only=True)
class Replay:
    """The branch that follows a known trajectory."""

    cases: Natural
    """0: all there are."""
    chunks: Count
    batch: Count
    perceptual: Perceptual
    frechet: Literal["random", "inception"]
    """Network of the Fréchet distance of frames; its weights are `paths.inception`."""
    frechet_video: Literal["random", "i3d"]
    """Network of the Fréchet distance of clips; its weights are `paths.i3d`."""


@dataclass(frozen=True, kw_only=True)
class Turns:
    """A branch that turns away and comes back: `return`, and what `loop` shares with it."""

    cases: Natural
    """0: all there are."""
    turns_deg: tuple[Annotated[float, Range(-180, 180)], ...]
    """Yaw of each chunk, in degrees, positive to the right."""
    batch: Count


@dataclass(frozen=True, kw_only=True)
class Loop(Turns):
    """The branch that comes back to a known place."""

    perceptual: Perceptual


@dataclass(frozen=True, kw_only=True)
class Branches:
    """The three evaluations. Source: study.md section 7."""

    replay: Replay
    loop: Loop
    return_: Turns
    """`return` in matrix.yaml."""


@dataclass(frozen=True, kw_only=True)
class Needs(Resources):
    """Resources with their ranges."""

    cpus: Count
    devices: Natural
    memory_gib: Positive
    minutes: Positive
    ranks: Count | None = None


@dataclass(frozen=True, kw_only=True)
class StageResources:
    """What a job of each stage needs; never part of a fingerprint."""

    data: Needs
    latents: Needs
    index: Needs
    train: Needs
    evaluate: Needs
    judge: Needs


@dataclass(frozen=True, kw_only=True)
class Axis:
    """An ablated control."""

    key: str
    """Full path: `controls.action.site`."""
    values: tuple[Any, ...]
    """Already of the key's type."""


@dataclass(frozen=True, kw_only=True)
class Profile:
    """A scale: what it changes of the base, and what its stages need."""

    seeds: tuple[int, ...] | None
    controls: Mapping[str, Mapping[str, Any]]
    """Only what differs from the base."""
    branches: Mapping[str, Mapping[str, Any]]
    resources: StageResources


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """matrix.yaml as written and found to be valid."""

    path: Path
    study: str
    seeds: tuple[int, ...]
    controls: Controls
    memory: Mapping[str, Row]
    """Name -> row, in file order."""
    axes: Mapping[str, Axis]
    branches: Branches
    tables: Mapping[str, tuple[str, ...]]
    deviations: tuple[Deviation, ...]
    profiles: Mapping[str, Profile]
    places: Mapping[str, int] = field(repr=False, compare=False)
    """Dotted key -> line of matrix.yaml, for errors that are found after reading."""


@dataclass(frozen=True, kw_only=True)
class ResolvedMatrix:
    """One profile of a matrix, with the overrides of the command line: nothing is left to merge."""

    study: str
    profile: str
    overrides: tuple[str, ...]
    """As given, each `key=value` without spaces around it."""
    seeds: tuple[int, ...]
    controls: Controls
    memory: Mapping[str, Row]
    axes: Mapping[str, Axis]
    branches: Branches
    tables: Mapping[str, tuple[str, ...]]
    deviations: tuple[Deviation, ...]
    resources: StageResources
    places: Mapping[str, str] = field(repr=False, compare=False)
    """Dotted key -> `matrix.yaml:12` or `command line`, for errors that are found in expansion."""


def key_of(name: str) -> str:
    """The key of a dataclass field: `return_` is `return`, which is no name in Python."""
    return name.removesuffix("_")


def plain(section: Any) -> Any:
    """A section as dictionaries, lists and scalars: what requests hold and fingerprints cover."""
    if isinstance(section, tuple):
        return [plain(item) for item in section]
    if hasattr(section, "__dataclass_fields__"):
        return {key_of(f.name): plain(getattr(section, f.name)) for f in fields(section)}
    return section
