"""Sections of the study's matrix.yaml under `controls` and `branches`: one frozen dataclass each.

matrix.yaml has every value, except for keys that came later: those have a default and, at their default, are in no
fingerprint (`contract/fields.py`). Memory rows are in `memory/`.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from workloads.contract.fields import LATER, ROW_CHOICE, Count, Natural, NonNegative, Positive, Range, Share

Perceptual = Literal["random", "alex", "vgg"]
"""Network of the perceptual distance. random: the stand-in; alex, vgg: LPIPS, with weights in `paths.lpips`."""


@dataclass(frozen=True, kw_only=True)
class Data:
    """The pool of scenes. Source: study.md section 2."""

    source: Literal["worlds", "context-as-memory"]
    """worlds: the built-in renderer; context-as-memory: the real pool, in `paths.pool` of the cluster file."""
    seed: Natural
    """Of the rendered pool and its trajectories, and not of the trainings."""
    height: Count
    """Pixels."""
    width: Count
    """Pixels."""
    chunk_frames: Annotated[int, Range(2)]
    """F; chunks share their boundary frame."""
    train_scenes: Count
    """Scenes that trainings draw from."""
    held_out_scenes: Count
    """Scenes of replay, loop and the sample videos."""
    open_prompts: Count
    """Scene layouts of the open domain, for the branch `return`."""
    open_variants: Count
    """Scenes of each layout; they differ in the placement of an object."""
    translation_m: NonNegative
    """How far the camera may get from its start, in metres; 0: it only turns."""
    returning_overlap: Share
    """Mean overlap with earlier frames from which a segment counts as returning."""
    returning_share: Share
    """Probability that a training sample is a returning segment."""


@dataclass(frozen=True, kw_only=True)
class Codec:
    """Frames to latents and captions to vectors. Source: study.md section 4."""

    kind: Literal["space-to-depth", "wan"]
    """space-to-depth: exact and built in; wan: the VAE of Wan 2.1, in `paths.wan_vae` of the cluster file."""
    factor: Count
    """Pixels of a latent's side."""
    text: Literal["hashed", "umt5"]
    """hashed: built in and deterministic; umt5: in `paths.umt5` of the cluster file."""
    text_tokens: Count
    """Tokens of a caption, padding included."""
    text_width: Count
    """Values of a token."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Which frames of the past a chunk may see. Source: study.md section 2."""

    frames: Count
    """K, anchor included, for every family but context."""
    rule: Literal["spread", "top"]
    """spread: evenly over the past frames that overlap; top: those with the largest overlaps."""
    min_overlap: Share
    """Share of the view that a past frame must have in common with the segment's middle frame."""
    drop: Share
    """Probability that a training sample sees only its anchor."""


@dataclass(frozen=True, kw_only=True)
class Action:
    """Where camera actions enter a block. Source: study.md section 3."""

    site: Literal["post_attention", "pre_norm", "pre_qkv", "pre_qkv_gated"]
    """After attention, before the norm, or before queries, keys and values, there also with a learned gate."""


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """The video diffusion transformer. Source: study.md section 4."""

    start: Literal["scratch", "wan"]
    """wan: the weights of Wan 2.1, in `paths.wan` of the cluster file."""
    width: Count
    """Values of a token; more than a patch of latents has."""
    blocks: Count
    """Transformer blocks."""
    heads: Count
    """Attention heads; they divide the width into even parts."""
    feed_forward: Count
    """Inner width of a block's feed-forward network."""
    frequency_width: Annotated[int, Range(2)]
    """Values of the timestep's sinusoidal embedding; even."""
    recurrent_every: Count
    """n: blocks 0, n, 2n, ... are the recurrent ones, in which a mechanism may have a part of its own."""
    grid: Count
    """G: a spatial write pools the evidence to G x G places."""
    grid_tokens: Count
    """M: tokens that these places are mixed to; at most G x G."""


@dataclass(frozen=True, kw_only=True)
class Training:
    """How a row is trained. Source: study.md section 6."""

    steps: Count
    """Optimiser steps."""
    global_batch: Count
    """Samples of a step; ranks and micro-batches divide it."""
    rate: Positive
    """Learning rate after the warm-up."""
    warmup_steps: Natural
    """Steps in which the rate grows from 0; part of `steps`."""
    schedule: Literal["cosine", "constant", "wsd"]
    """cosine: down to `floor` times the rate; constant: as it is; wsd: constant, and in the last `decay` of the steps
    down to `floor` times the rate. A training of more steps continues one that is done, but for cosine."""
    floor: Share
    """Share of the rate in the last step of cosine and wsd."""
    clip: Positive | None
    """Largest norm of the gradient; null: not clipped."""
    weight_decay: NonNegative
    """Of AdamW."""
    shift: Positive
    """Of the noise schedule, in training and sampling."""
    precision: Literal["float32", "bfloat16"]
    """bfloat16: autocast; gates, decays, norms and the recurrence stay float32."""
    spike_ratio: Annotated[float, Range(1, above=True)]
    """A step whose loss exceeds so many times its running mean is skipped."""
    sample_every: Natural
    """Steps between sample videos of the same held-out frames; 0: none."""
    rejected_share: Annotated[Share, LATER] = 0.1
    """A training that rejects a larger share of its steps has diverged, and fails."""
    decay: Annotated[float, Range(0, 1, above=True), LATER] = 0.1
    """wsd: share of the steps, the last ones, in which the rate falls."""


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """How a chunk is generated. Source: study.md section 7."""

    steps: Count
    """Euler steps of a chunk."""
    guidance: Annotated[float, Range(1)]
    """Scale of classifier-free guidance; 1: off."""
    negative: str
    """Its negative prompt."""


@dataclass(frozen=True, kw_only=True)
class Judge:
    """Who scores a return. Source: study.md section 7."""

    name: Literal["mask", "vlm"]
    """mask: deterministic, for source worlds; vlm: the models below, at an OpenAI-compatible endpoint."""
    models: tuple[str, ...]
    """vlm: names of the models that score every case; mask: empty."""
    tail_frames: Count
    """Last frames of a case that are judged."""
    min_overlap: Share
    """Tail frames with a smaller overlap with the source pose are not judged."""


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
    """Evaluated cases; 0: all."""
    chunks: Count
    """Chunks that are generated, each from those before it."""
    batch: Count
    """Cases that are generated together."""
    perceptual: Perceptual
    """Network of the perceptual distance; random: a stand-in; alex, vgg: LPIPS, in `paths.lpips`."""
    frechet: Literal["random", "inception"]
    """Network of the Fréchet distance of frames; its weights are `paths.inception`."""
    frechet_video: Literal["random", "i3d"]
    """Network of the Fréchet distance of clips; its weights are `paths.i3d`."""


@dataclass(frozen=True, kw_only=True)
class Turns:
    """A branch that turns away and back: `return`, and the common part of `loop`."""

    judged: ClassVar[bool] = True

    cases: Natural
    """Evaluated cases; 0: all."""
    turns_deg: tuple[Annotated[float, Range(-180, 180)], ...]
    """Yaw of each chunk, in degrees, positive to the right."""
    batch: Count
    """Cases that are generated together."""


@dataclass(frozen=True, kw_only=True)
class Loop(Turns):
    """The branch that returns to a known place."""

    perceptual: Perceptual
    """Network of the perceptual distance; random: a stand-in; alex, vgg: LPIPS, in `paths.lpips`."""


@dataclass(frozen=True, kw_only=True)
class Absence:
    """The branch that asks how long a place is remembered."""

    judged: ClassVar[bool] = True

    cases: Natural
    """First frames, each evaluated once for every gap; 0: all."""
    away_deg: tuple[Annotated[float, Range(-180, 180)], ...]
    """Yaw of each chunk that takes the source out of sight, in degrees; at the end they are undone in reverse."""
    between_deg: tuple[Annotated[float, Range(-180, 180)], ...]
    """Yaw of the chunks in between, over and over; they add up to 0 and keep the source out of sight."""
    gaps: tuple[Natural, ...]
    """How many chunks are in between: a group of cases for each, rising from 0."""
    batch: Count
    """Cases that are generated together; those of two gaps never are."""


Perturbation = Literal["pose", "foreign", "noise", "missing"]
"""What is wrong with the evidence."""


@dataclass(frozen=True, kw_only=True)
class Sensitivity(Turns):
    """The branch `return` with something wrong in the evidence: whether a row uses what it is shown."""

    rows: Annotated[tuple[str, ...], ROW_CHOICE]
    """Names, globs and `family:NAME` of the rows that are evaluated."""
    perturb: tuple[Perturbation, ...]
    """A group of cases for each, beside one with the evidence as it is. pose: retrieved frames are shown with their yaw
    off by `pose_deg`; foreign: one retrieved frame is of another world; noise: the retrieved latents with noise added;
    missing: one retrieved frame is left out. The one frame is that which sees most of where the chunk ends."""
    pose_deg: Annotated[float, Range(-180, 180)]
    """Error of the yaw for `pose`, in degrees."""
    noise: NonNegative
    """Standard deviation of the noise, as a multiple of that of the frame's latents."""


@dataclass(frozen=True, kw_only=True)
class Branches:
    """The evaluations; those that may be null are off where matrix.yaml lacks them. Source: study.md section 7."""

    replay: Replay
    loop: Loop
    return_: Turns
    """The branch that turns away and back in an unfamiliar world; `return` in matrix.yaml."""
    absence: Absence | None = None
    sensitivity: Sensitivity | None = None
