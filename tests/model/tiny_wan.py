"""A tiny Wan 2.1 of diffusers with random weights, its files in both layouts, and our model of the same sizes."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import WanTransformer3DModel
from safetensors.torch import save_file
from torch import Tensor

from workloads.contract.rows import resolved
from workloads.memory.interface import Slots
from workloads.model.shapes import LatentShape
from workloads.model.world_model import WorldModel, build_model
from workloads.study.memory.families import row_from

ORIGINAL = (
    ("condition_embedder.text_embedder.linear_1", "text_embedding.0"),
    ("condition_embedder.text_embedder.linear_2", "text_embedding.2"),
    ("condition_embedder.time_embedder.linear_1", "time_embedding.0"),
    ("condition_embedder.time_embedder.linear_2", "time_embedding.2"),
    ("condition_embedder.time_proj", "time_projection.1"),
    ("proj_out", "head.head"),
    (".attn1.to_q", ".self_attn.q"), (".attn1.to_k", ".self_attn.k"), (".attn1.to_v", ".self_attn.v"),
    (".attn1.to_out.0", ".self_attn.o"), (".attn1.norm_", ".self_attn.norm_"),
    (".attn2.to_q", ".cross_attn.q"), (".attn2.to_k", ".cross_attn.k"), (".attn2.to_v", ".cross_attn.v"),
    (".attn2.to_out.0", ".cross_attn.o"), (".attn2.norm_", ".cross_attn.norm_"),
    (".ffn.net.0.proj", ".ffn.0"), (".ffn.net.2", ".ffn.2"), (".norm2.", ".norm3."),
)  # fmt: skip
"""Parts of diffusers' names and of the original repository's (Wan-Video/Wan2.1, wan/modules/model.py)."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """Sizes of one comparison; all but `batch`, `rows`, `columns` and `frames` size the weights."""

    width: int = 96
    heads: int = 4
    blocks: int = 2
    feed_forward: int = 80
    frequency_width: int = 32
    channels: int = 5
    rows: int = 3
    columns: int = 5
    frames: int = 3
    text_tokens: int = 6
    text_width: int = 20
    batch: int = 2


def ours(case: Case, row: dict[str, Any] | None = None, site: str = "pre_qkv") -> WorldModel:
    """Our model from scratch, in the anchor-only row unless another is given."""
    backbone = {**asdict(case), "recurrent_every": 1, "grid": 2, "grid_tokens": 2}
    shape = LatentShape(
        channels=case.channels,
        height=2 * case.rows,
        width=2 * case.columns,
        frames=case.frames,
        text_tokens=case.text_tokens,
        text_width=case.text_width,
    )
    plain = resolved(row_from(row or {"family": "context", "frames": 1}))
    return build_model(backbone, {"site": site}, plain, shape, 0)


def theirs(case: Case, seed: int = 1) -> WanTransformer3DModel:
    """The model of diffusers; every parameter random, norms around 1 and biases and modulation far from 0."""
    model = WanTransformer3DModel(
        num_attention_heads=case.heads,
        attention_head_dim=case.width // case.heads,
        in_channels=case.channels,
        out_channels=case.channels,
        text_dim=case.text_width,
        freq_dim=case.frequency_width,
        ffn_dim=case.feed_forward,
        num_layers=case.blocks,
    )
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if "norm" in name and name.endswith("weight"):
                parameter.copy_(1 + 0.3 * noise)
            elif parameter.dim() >= 2 and "table" not in name:
                parameter.copy_(noise / parameter[0].numel() ** 0.5)
            else:
                parameter.copy_(0.3 * noise)
    return model


def original(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of diffusers under the names of the original repository."""
    renamed = {}
    for name, tensor in state.items():
        new = "head.modulation" if name == "scale_shift_table" else name.replace("scale_shift_table", "modulation")
        for old, other in ORIGINAL:
            new = new.replace(old, other)
        renamed[new] = tensor
    return renamed


def save(folder: Path, state: dict[str, Tensor], shards: int = 1, *, index: bool = True) -> Path:
    """Write `state` as one file or as `shards` files with their index; the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: value.detach().contiguous() for name, value in state.items()}
    if shards == 1:
        save_file(tensors, folder / "diffusion_pytorch_model.safetensors")
        return folder
    names, weight_map = sorted(tensors), {}
    for number in range(shards):
        file = f"diffusion_pytorch_model-{number + 1:05}-of-{shards:05}.safetensors"
        part = names[number::shards]
        save_file({name: tensors[name] for name in part}, folder / file)
        weight_map.update(dict.fromkeys(part, file))
    if index:
        text = json.dumps({"metadata": {}, "weight_map": weight_map})
        (folder / "diffusion_pytorch_model.safetensors.index.json").write_text(text, encoding="utf-8")
    return folder


@dataclass(frozen=True, kw_only=True)
class Given:
    """One input, as both models read it."""

    noisy: Tensor
    anchor: Tensor
    sigma: Tensor
    text: Tensor

    def ours(self) -> dict[str, Any]:
        """Keyword arguments of our model; poses are random, for they must add nothing."""
        b, t = self.noisy.shape[:2]
        generator = torch.Generator().manual_seed(5)
        slots = Slots(
            self.anchor[:, None], torch.randn(b, 1, 12, generator=generator), torch.ones(b, 1, dtype=torch.bool)
        )
        actions = torch.randn(b, t, 12, generator=generator)
        return {"noisy": self.noisy, "sigma": self.sigma, "actions": actions, "text": self.text, "slots": slots}

    def theirs(self) -> dict[str, Tensor]:
        """Keyword arguments of diffusers' model: the anchor is one more frame at the end."""
        frames = torch.cat([self.noisy, self.anchor[:, None]], 1).transpose(1, 2)
        return {"hidden_states": frames, "timestep": self.sigma * 1000, "encoder_hidden_states": self.text}


def given(case: Case) -> Given:
    """Random input with a different noise level and a different length of text in every sample."""
    generator = torch.Generator().manual_seed(2)
    size = (case.channels, 2 * case.rows, 2 * case.columns)
    text = torch.randn(case.batch, case.text_tokens, case.text_width, generator=generator)
    for sample in range(case.batch):
        text[sample, 2 + sample :] = 0  # padding
    return Given(
        noisy=torch.randn(case.batch, case.frames, *size, generator=generator),
        anchor=torch.randn(case.batch, *size, generator=generator),
        sigma=torch.linspace(0.1234, 0.987, case.batch),
        text=text,
    )
