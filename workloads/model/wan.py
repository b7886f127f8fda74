"""Wan 2.1's weights as the start of our backbone: which of its tensors becomes which of ours, in two layouts.

The layout of diffusers (`transformer/` of Wan2.1-T2V-1.3B-Diffusers) and the original one (Wan2.1-T2V-1.3B) name the
same tensors. Three things differ from ours: maps that we fuse are stacked there one after the other, the patch
embedding is a convolution (d, c, 1, 2, 2) whose window is read in our order (c, row, column), and the values of an
output patch lie in the order (row, column, c) there and (c, row, column) here. What Wan does not have - action
maps and memory mechanisms - keeps its first values.

Source: study.md section 4; `convert_wan_to_diffusers.py` of diffusers for the two sets of names.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from workloads.model.attention import EPSILON
from workloads.model.shards import FLOATS, Shards
from workloads.model.world_model import WorldModel
from workloads.runtime.errors import BadInput
from workloads.study.memory.base import PATCH

STEM = "diffusion_pytorch_model"
"""Of the files of both layouts."""

Layout = Literal["diffusers", "original"]

SHOWN = 3
"""Misfits that a message lists; the others are counted."""

# Of a map or norm `NAME`, ours: diffusers', original. Weight and bias of each.
_WHOLE: Mapping[str, tuple[str, str]] = {
    "text_embedding.0": ("condition_embedder.text_embedder.linear_1", "text_embedding.0"),
    "text_embedding.2": ("condition_embedder.text_embedder.linear_2", "text_embedding.2"),
    "time_embedding.0": ("condition_embedder.time_embedder.linear_1", "time_embedding.0"),
    "time_embedding.2": ("condition_embedder.time_embedder.linear_2", "time_embedding.2"),
    "time_projection": ("condition_embedder.time_proj", "time_projection.1"),
}
_BLOCK: Mapping[str, tuple[str, str]] = {
    "self_attention.qkv": ("attn1.to_{q,k,v}", "self_attn.{q,k,v}"),
    "self_attention.out": ("attn1.to_out.0", "self_attn.o"),
    "text_norm": ("norm2", "norm3"),
    "text_attention.query": ("attn2.to_q", "cross_attn.q"),
    "text_attention.key_value": ("attn2.to_{k,v}", "cross_attn.{k,v}"),
    "text_attention.out": ("attn2.to_out.0", "cross_attn.o"),
    "widen": ("ffn.net.0.proj", "ffn.0"),
    "narrow": ("ffn.net.2", "ffn.2"),
}
# Single parameters of a block.
_BLOCK_ALONE: Mapping[str, tuple[str, str]] = {
    "modulation": ("scale_shift_table", "modulation"),
    "self_attention.norm_qk": ("attn1.norm_{q,k}.weight", "self_attn.norm_{q,k}.weight"),
    "text_attention.norm_query": ("attn2.norm_q.weight", "cross_attn.norm_q.weight"),
    "text_attention.norm_key": ("attn2.norm_k.weight", "cross_attn.norm_k.weight"),
}


@dataclass(frozen=True)
class ParameterSource:
    """Where one parameter of ours comes from."""

    keys: tuple[str, ...]
    """Tensors of the file that are stacked."""
    shape: tuple[int, ...]
    """Of each of them in the file."""
    turned: Callable[[Tensor], Tensor] = lambda tensor: tensor
    """From the file's order to ours."""


def wan_sources(model: WorldModel, layout: Layout) -> dict[str, ParameterSource]:
    """For each parameter that Wan has: the tensors of `layout` that it is made of."""
    shapes = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    return {ours: _source(ours, pattern, shapes[ours]) for ours, pattern in _names(model, layout)}


def gathered(
    sources: Mapping[str, ParameterSource], read: Callable[[str], Tensor]
) -> Iterator[tuple[str, list[Tensor]]]:
    """Our name and the parts to stack along its first dimension, of one parameter after the other."""
    for ours, source in sources.items():
        yield ours, [source.turned(read(key)) for key in source.keys]


def load_wan(model: WorldModel, path: str | None) -> None:
    """Set the shared backbone of `model` to the Wan 2.1 weights at `path`; what Wan lacks stays as it is.

    Args:
        model: on the CPU, float32.
        path: a .safetensors file, or a folder of either layout.

    Raises:
        BadInput: no path; nothing there; a pickle; a damaged file; a tensor missing, unknown, of another shape or
            type, or not finite; a config.json beside the weights that says another head width, patch or epsilon.
    """
    if path is None:
        raise BadInput(
            "controls.backbone.start is wan, but this machine's paths.wan is not given; add to cluster/*.yaml under "
            "paths: wan: the folder of Wan2.1-T2V-1.3B, original or for diffusers"
        )
    folder = Path(path)
    if (folder / "transformer").is_dir():
        folder = folder / "transformer"
    shards = Shards.open(folder, STEM)
    _check_config(folder if folder.is_dir() else folder.parent, model)
    layout, sources = _fitting(model, shards)
    _check_fit(shards, layout, sources, model)
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for ours, parts in gathered(sources, shards.read):
            for target, part in zip(parameters[ours].chunk(len(parts)), parts, strict=True):
                target.copy_(part.view_as(target))


def _names(model: WorldModel, layout: Layout) -> Iterator[tuple[str, str]]:
    """Our parameter and its pattern in the file."""
    which = 0 if layout == "diffusers" else 1
    yield from _both("patch_embedding", "patch_embedding")
    for ours, theirs in _WHOLE.items():
        yield from _both(ours, theirs[which])
    for index in range(len(model.blocks)):
        for ours, theirs in _BLOCK.items():
            yield from _both(f"blocks.{index}.{ours}", f"blocks.{index}.{theirs[which]}")
        for ours, theirs in _BLOCK_ALONE.items():
            yield f"blocks.{index}.{ours}", f"blocks.{index}.{theirs[which]}"
    yield "head.modulation", ("scale_shift_table", "head.modulation")[which]
    yield from _both("head.out", ("proj_out", "head.head")[which])


def _both(ours: str, theirs: str) -> Iterator[tuple[str, str]]:
    for part in ("weight", "bias"):
        yield f"{ours}.{part}", f"{theirs}.{part}"


def _source(ours: str, pattern: str, shape: tuple[int, ...]) -> ParameterSource:
    before, brace, rest = pattern.partition("{")
    letters, _, after = rest.partition("}")
    keys = tuple(f"{before}{letter}{after}" for letter in letters.split(",")) if brace else (pattern,)
    if ours == "patch_embedding.weight":
        return ParameterSource(keys, (shape[0], shape[1] // PATCH**2, 1, PATCH, PATCH))
    if ours.startswith("head.out."):
        return ParameterSource(keys, shape, _patch_order)
    if ours.endswith("norm_qk"):
        return ParameterSource(keys, shape[1:])
    return ParameterSource(keys, (shape[0] // len(keys), *shape[1:]))


def _patch_order(tensor: Tensor) -> Tensor:
    """Rows (row, column, c) of the output map, or of its bias, in our order (c, row, column)."""
    return tensor.view(PATCH * PATCH, -1, *tensor.shape[1:]).transpose(0, 1).flatten(0, 1)


def _fitting(model: WorldModel, shards: Shards) -> tuple[Layout, dict[str, ParameterSource]]:
    """The layout that has more of the file's names, so that a message about the rest is about the right one."""
    found = shards.entries.keys()
    both: list[tuple[Layout, dict[str, ParameterSource]]] = [
        ("diffusers", wan_sources(model, "diffusers")),
        ("original", wan_sources(model, "original")),
    ]
    return max(both, key=lambda pair: sum(key in found for source in pair[1].values() for key in source.keys))


def _check_fit(shards: Shards, layout: Layout, sources: Mapping[str, ParameterSource], model: WorldModel) -> None:
    wanted = {key: source.shape for source in sources.values() for key in source.keys}
    misfits = []
    for key in sorted(wanted.keys() | shards.entries.keys()):
        entry = shards.entries.get(key)
        if entry is None:
            misfits.append(f"{key} is missing")
        elif key not in wanted:
            misfits.append(f"{key} in {entry.path.name} is unknown")
        elif entry.shape != wanted[key]:
            misfits.append(f"{key} in {entry.path.name} has the shape {entry.shape} and not {wanted[key]}")
        elif entry.kind not in FLOATS:
            misfits.append(f"{key} in {entry.path.name} holds {entry.kind} and not {', '.join(FLOATS)}")
    if misfits:
        more = f"; and {len(misfits) - SHOWN} more" if len(misfits) > SHOWN else ""
        raise BadInput(
            f"{shards.root}: {len(misfits)} tensors do not fit the backbone (names of the {layout} layout): "
            f"{'; '.join(misfits[:SHOWN])}{more}; allowed: weights of Wan 2.1 text-to-video with {len(model.blocks)} "
            f"blocks of width {model.width}; change paths.wan in cluster/*.yaml, or controls.backbone"
        )


def _check_config(folder: Path, model: WorldModel) -> None:
    """What no shape shows: the heads and the epsilon, where a config.json of either layout says them."""
    path = folder / "config.json"
    if not path.is_file():
        return
    try:
        config = dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise BadInput(f"{path}: not readable as JSON: {error}; fetch the folder again") from error
    expected = {
        "num_attention_heads": model.heads,
        "num_heads": model.heads,
        "eps": EPSILON,
        "patch_size": [1, PATCH, PATCH],
        "cross_attn_norm": True,
        "qk_norm": "rms_norm_across_heads",
    }
    for key, value in expected.items():
        # The original layout says qk_norm: true for the same thing.
        if key in config and config[key] != value and not (key == "qk_norm" and config[key] is True):
            raise BadInput(
                f"{path}: {key} is {config[key]!r}, the backbone's is {value!r}; allowed: the same; change "
                "controls.backbone, or paths.wan in cluster/*.yaml"
            )
