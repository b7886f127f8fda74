"""Captions through Wan's text encoder, UMT5, with transformers, from a folder of this machine (study.md section 4).

As Wan does it: entities and spaces are cleaned, the caption is cut to `text_tokens`, and what lies behind its end
is zero. Imported only where `controls.codec.text` is `umt5`.
"""

import html
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from workloads.data.local_weights import check_finite, check_keys, folder_of, read_config, weight_files
from workloads.runtime.errors import BadInput

PATH = "umt5"
STEM = "model"


class Umt5Text:
    """Captions to the last hidden state of UMT5's encoder, float32, padding zero."""

    def __init__(self, model: Any, tokenizer: Any, tokens: int, device: str) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._tokens = tokens
        self._device = device

    def encode(self, caption: str) -> npt.NDArray[np.float32]:
        """(text_tokens, text_width) float32 of `caption`."""
        asked = self._tokenizer(
            cleaned(caption), padding="max_length", max_length=self._tokens, truncation=True, return_tensors="pt"
        )
        mask = asked.attention_mask.to(self._device)
        autocast = torch.autocast(torch.device(self._device).type, enabled=False)
        with torch.inference_mode(), autocast:
            hidden = self._model(asked.input_ids.to(self._device), mask).last_hidden_state[0]
            return np.asarray((hidden * mask[0, :, None]).float().cpu().numpy(), dtype=np.float32)


def cleaned(caption: str) -> str:
    """A caption with entities resolved (twice, as in Wan's own code) and every run of spaces as one."""
    return re.sub(r"\s+", " ", html.unescape(html.unescape(caption))).strip()


def load_umt5(codec_section: Mapping[str, Any], paths: Mapping[str, str], device: str) -> Umt5Text:
    """The encoder of `paths.umt5`: a folder with `text_encoder/` and `tokenizer/`, as Wan in diffusers' layout.

    Raises:
        BadInput: no such folder, transformers not installed, weights that are a pickle, not whole, not finite or of
            another model, or a width that is not `controls.codec.text_width`.
    """
    what = "a folder with `text_encoder/` and `tokenizer/`, as in Wan 2.1 in diffusers' layout"
    root = folder_of(paths, PATH, "controls.codec.text 'umt5'", what)
    folder, words = root / "text_encoder", root / "tokenizer"
    for part in (folder, words):
        if not part.is_dir():
            raise BadInput(f"{part}: missing; paths.{PATH} is {what}")
    try:
        from transformers import AutoTokenizer, UMT5EncoderModel
    except ImportError as error:
        raise BadInput(
            f"controls.codec.text is 'umt5', which needs transformers ({error}); "
            "install the extra: pip install 'echo-matrix[wan]'"
        ) from error
    width, asked = read_config(folder).get("d_model"), int(codec_section["text_width"])
    if width != asked:
        raise BadInput(f"{folder / 'config.json'}: d_model is {width}, controls.codec.text_width is {asked}")
    weight_files(folder, STEM)
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(words), local_files_only=True, trust_remote_code=False)
        model, found = UMT5EncoderModel.from_pretrained(
            str(folder), local_files_only=True, use_safetensors=True, dtype=torch.float32, output_loading_info=True
        )
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise BadInput(f"{root}: not UMT5 and its tokenizer ({error}); fetch the folder again") from error
    check_keys(found["missing_keys"], found["unexpected_keys"], folder)
    check_finite(model.named_parameters(), folder)
    return Umt5Text(model.to(device).eval().requires_grad_(False), tokenizer, int(codec_section["text_tokens"]), device)
