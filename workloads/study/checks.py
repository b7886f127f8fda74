"""What must hold between the controls: each number alone may be in range and the whole impossible."""

from collections.abc import Iterator
from itertools import accumulate, pairwise

from workloads.study.memory.base import PATCH
from workloads.study.schedule import stable_steps
from workloads.study.sections import Absence, Branches, Controls
from workloads.study.sizes import RGB, WAN_CHANNELS, WAN_TIME_FACTOR

WAN_FACTOR = 8  # pixels of its latents' side
UMT5_WIDTH = 4096  # of a UMT5-XXL embedding
SSIM_WINDOW = 7  # pixels a side: workloads/evaluation/psnr_ssim.py
LPIPS_SIDE = {
    "alex": 31,
    "vgg": 16,
}  # pixels that survive the network's pooling: workloads/evaluation/networks/lpips.py
VIEW_DEG = 52.67  # what a camera sees: workloads/data/geometry.py
CLOSED_DEG = 1e-9
MIN_HEAD = 6  # rotary positions over time, height and width, two values each


def problems(controls: Controls, branches: Branches) -> Iterator[tuple[str, str]]:
    """Key and problem of everything that cannot be, most basic first.

    Source: study.md sections 2, 4, 6 and 7.
    """
    yield from _latents(controls)
    yield from _backbone(controls)
    yield from _start(controls)
    yield from _training(controls)
    yield from _judge(controls, branches)
    yield from _networks(controls, branches)
    sensitivity = branches.sensitivity
    if branches.absence is not None:
        yield from _absence(branches.absence)
    if sensitivity is not None and len(set(sensitivity.perturb)) < max(1, len(sensitivity.perturb)):
        yield "branches.sensitivity.perturb", f"is {list(sensitivity.perturb)}; allowed: one and more, each once"
    turned = [("loop", branches.loop.turns_deg), ("return", branches.return_.turns_deg)]
    turned += [] if sensitivity is None else [("sensitivity", sensitivity.turns_deg)]
    for name, turns in turned:
        mirrored = tuple(-turn for turn in reversed(turns))
        if not turns or 0 in turns or turns != mirrored:
            yield (
                f"branches.{name}.turns_deg",
                f"is {list(turns)}, which does not come back the way it went; allowed: turns other than 0 whose "
                "second half undoes the first in reverse, such as [45.0, -45.0]",
            )


def _absence(absence: Absence) -> Iterator[tuple[str, str]]:
    away, between, gaps = absence.away_deg, absence.between_deg, absence.gaps
    if not between or 0 in between or abs(sum(between)) > CLOSED_DEG:
        yield (
            "branches.absence.between_deg",
            f"is {list(between)}; allowed: turns other than 0 that add up to 0, such as [-30.0, 30.0]",
        )
        return
    seen = [yaw for yaw in accumulate(between, initial=sum(away)) if abs(yaw) < VIEW_DEG or abs(yaw) > 360 - VIEW_DEG]
    if not away or 0 in away or seen:
        where = f"; with between_deg {list(between)} the camera comes to {seen[0]:g} degrees" if seen else ""
        yield (
            "branches.absence.away_deg",
            f"is {list(away)}{where}; allowed: turns other than 0 that take the source out of sight, a view of "
            f"{VIEW_DEG:g} degrees, such as [45.0, 45.0]",
        )
    if len(gaps) < 2 or gaps[0] != 0 or any(a >= b for a, b in pairwise(gaps)) or any(n % len(between) for n in gaps):
        yield (
            "branches.absence.gaps",
            f"is {list(gaps)}; allowed: rising numbers from 0, multiples of {len(between)} (the turns of between_deg), "
            f"such as [0, {len(between)}, {2 * len(between)}]",
        )


def _latents(controls: Controls) -> Iterator[tuple[str, str]]:
    data, codec = controls.data, controls.codec
    if codec.kind == "wan" and codec.factor != WAN_FACTOR:
        yield "controls.codec.factor", f"is {codec.factor}; the wan codec's is {WAN_FACTOR}"
    if codec.kind == "wan" and (data.chunk_frames - 1) % WAN_TIME_FACTOR:
        yield (
            "controls.data.chunk_frames",
            f"is {data.chunk_frames}; the wan codec takes a multiple of {WAN_TIME_FACTOR} frames and one more",
        )
    if codec.text == "umt5" and codec.text_width != UMT5_WIDTH:
        yield "controls.codec.text_width", f"is {codec.text_width}; umt5's is {UMT5_WIDTH}"
    side = codec.factor * PATCH
    for key, pixels in (("height", data.height), ("width", data.width)):
        if pixels % side:
            yield (
                f"controls.data.{key}",
                f"is {pixels} pixels; allowed: multiples of {side} "
                f"(codec.factor({codec.factor}) * {PATCH} latents a token)",
            )
        if pixels < SSIM_WINDOW:
            yield (
                f"controls.data.{key}",
                f"is {pixels} pixels; SSIM looks at windows of {SSIM_WINDOW} a side; allowed: {SSIM_WINDOW} and more",
            )


def _backbone(controls: Controls) -> Iterator[tuple[str, str]]:
    data, codec, backbone = controls.data, controls.codec, controls.backbone
    head, rest = divmod(backbone.width, backbone.heads)
    if rest or head % 2 or head < MIN_HEAD:
        yield (
            "controls.backbone.heads",
            f"is {backbone.heads}, but backbone.width is {backbone.width}; a head's width must be whole, even and at "
            f"least {MIN_HEAD}",
        )
    channels = WAN_CHANNELS if codec.kind == "wan" else RGB * codec.factor**2
    values = channels * PATCH * PATCH
    if backbone.width <= values:
        yield (
            "controls.backbone.width",
            f"is {backbone.width}, but a patch holds {values} values ({channels} latent channels * {PATCH} * {PATCH}); "
            f"allowed: {values + 1} and more, for the velocity contains the noise",
        )
    if backbone.frequency_width % 2:
        yield "controls.backbone.frequency_width", f"is {backbone.frequency_width}; allowed: even numbers"
    side = min(data.height, data.width) // (codec.factor * PATCH)
    if backbone.grid > side:
        yield "controls.backbone.grid", f"is {backbone.grid}, but the shorter side of a frame has {side} tokens"
    if backbone.grid_tokens > backbone.grid**2:
        yield (
            "controls.backbone.grid_tokens",
            f"is {backbone.grid_tokens}, but the grid has {backbone.grid}**2 = {backbone.grid**2} places to mix",
        )


def _start(controls: Controls) -> Iterator[tuple[str, str]]:
    codec = controls.codec
    if controls.backbone.start == "wan" and (codec.kind, codec.text) != ("wan", "umt5"):
        yield (
            "controls.backbone.start",
            f"is wan, whose weights know latents of wan and text of umt5, but codec.kind is {codec.kind} and "
            f"codec.text {codec.text}; allowed: scratch",
        )


def _training(controls: Controls) -> Iterator[tuple[str, str]]:
    training = controls.training
    if training.warmup_steps > training.steps:
        yield (
            "controls.training.warmup_steps",
            f"is {training.warmup_steps}, but training.steps is {training.steps}; allowed: 0 to {training.steps}",
        )
        return
    stable = stable_steps(vars(training))
    if stable is not None and stable < max(1, training.warmup_steps):
        yield (
            "controls.training.decay",
            f"is {training.decay:g}, which leaves {stable} of {training.steps} steps before the decay, but "
            f"training.warmup_steps is {training.warmup_steps}; allowed: a share that leaves a step and the warm-up",
        )


def _networks(controls: Controls, branches: Branches) -> Iterator[tuple[str, str]]:
    pixels = min(controls.data.height, controls.data.width)
    for name, network in (("replay", branches.replay.perceptual), ("loop", branches.loop.perceptual)):
        if pixels < LPIPS_SIDE.get(network, 0):
            yield (
                f"branches.{name}.perceptual",
                f"is {network}, whose features need frames of at least {LPIPS_SIDE[network]} pixels a side, but the "
                f"shorter side is {pixels}; allowed: random, or larger frames",
            )


def _judge(controls: Controls, branches: Branches) -> Iterator[tuple[str, str]]:
    if controls.judge.name == "mask" and controls.data.source != "worlds":
        yield (
            "controls.judge.name",
            f"is mask, which needs the renderer of data.source: worlds, but that is {controls.data.source}; allowed: "
            "vlm",
        )
    if controls.judge.name == "vlm" and not controls.judge.models:
        yield "controls.judge.models", "is [], but judge.name is vlm; name the models to ask, e.g. [qwen3-vl-30b-a3b]"
    if controls.judge.name == "mask" and controls.judge.models:
        yield (
            "controls.judge.models",
            f"is {list(controls.judge.models)}, but judge.name is mask, which asks no model; allowed: []",
        )
    chunks = [len(branches.loop.turns_deg), len(branches.return_.turns_deg)]
    chunks += [] if branches.absence is None else [2 * len(branches.absence.away_deg)]
    chunks += [] if branches.sensitivity is None else [len(branches.sensitivity.turns_deg)]
    shortest = min(chunks) * (controls.data.chunk_frames - 1)
    if controls.judge.tail_frames > max(shortest, 1):
        yield (
            "controls.judge.tail_frames",
            f"is {controls.judge.tail_frames}, but the shortest judged branch generates {shortest} frames",
        )
