"""Sections of the study's matrix.yaml under `controls` and `branches`: one frozen dataclass each.

matrix.yaml has every value, except for keys that came later: those have a default and, at their default, are in no
fingerprint (`contract/fields.py`). Memory rows are in `memory/`.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from workloads.contract.fields import LATER, Count, Natural, NonNegative, Positive, Range, Share

Perceptual = Literal["random", "alex", "vgg"]
"""Network of the perceptual distance. random: the stand-in; alex, vgg: LPIPS, with weights in `paths.lpips`."""


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
    """wan: the weights of Wan 2.1, in `paths.wan` of the cluster file."""
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
    rejected_share: Annotated[Share, LATER] = 0.1
    """A training that rejects a larger share of its steps has diverged, and fails."""


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
    """vlm: names of the models that score every case; mask: empty."""
    tail_frames: Count
    min_overlap: Share


@dataclass(frozen=True, kw_only=True)
class Controls:
    """The controls."""

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

    judged: ClassVar[bool] = False
    """Known frames are there to be compared with."""

    cases: Natural
    """0: all."""
    chunks: Count
    batch: Count
    perceptual: Perceptual
    frechet: Literal["random", "inception"]
    """Network of the Fréchet distance of frames; its weights are `paths.inception`."""
    frechet_video: Literal["random", "i3d"]
    """Network of the Fréchet distance of clips; its weights are `paths.i3d`."""


@dataclass(frozen=True, kw_only=True)
class Turns:
    """A branch that turns away and back: `return`, and the common part of `loop`."""

    judged: ClassVar[bool] = True

    cases: Natural
    """0: all."""
    turns_deg: tuple[Annotated[float, Range(-180, 180)], ...]
    """Yaw of each chunk, in degrees, positive to the right."""
    batch: Count


@dataclass(frozen=True, kw_only=True)
class Loop(Turns):
    """The branch that returns to a known place."""

    perceptual: Perceptual


@dataclass(frozen=True, kw_only=True)
class Branches:
    """The three evaluations. Source: study.md section 7."""

    replay: Replay
    loop: Loop
    return_: Turns
    """`return` in matrix.yaml."""
