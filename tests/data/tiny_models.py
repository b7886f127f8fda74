"""Wan's VAE and text encoder at toy size with random weights, in the layout in which the real ones are published."""

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLWan
from transformers import T5Tokenizer, UMT5Config, UMT5EncoderModel

WORDS = ["a", "an", "the", "with", "of", "in", "room", "street", "garden", "stone", "rain", "light", "and", "old"]
TEXT_WIDTH = 16
TEXT_TOKENS = 12
WAN: dict[str, Any] = {
    "kind": "wan", "factor": 8, "text": "umt5", "text_tokens": TEXT_TOKENS, "text_width": TEXT_WIDTH,
}  # fmt: skip


def make_vae(folder: Path, **changed: Any) -> Path:
    """A Wan VAE of two channels a level; its spatial and time factors are the real ones."""
    torch.manual_seed(0)
    settings: dict[str, Any] = {"base_dim": 4, "z_dim": 16, "dim_mult": [1, 1, 1, 1], "num_res_blocks": 1}
    AutoencoderKLWan(**{**settings, **changed}).save_pretrained(folder)
    return folder


def make_umt5(folder: Path, width: int = TEXT_WIDTH) -> Path:
    """A UMT5 encoder of two layers and a tokenizer that knows some words, each a piece of its own."""
    vocabulary = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *((f"▁{word}", -2.0) for word in WORDS)]
    tokenizer = T5Tokenizer(vocab=vocabulary, extra_ids=0)
    torch.manual_seed(0)
    config = UMT5Config(
        vocab_size=len(vocabulary), d_model=width, d_kv=4, d_ff=16, num_layers=2, num_heads=2, is_encoder_decoder=False
    )
    UMT5EncoderModel(config).save_pretrained(folder / "text_encoder")
    tokenizer.save_pretrained(folder / "tokenizer")
    return folder
