"""Captions as token embeddings (study.md section 4, Text): the embedded encoder knows words by their hash."""

import re
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from workloads.data import draws
from workloads.runtime.errors import BadInput


class TextEncoder(Protocol):
    """Captions to embeddings."""

    def encode(self, caption: str) -> npt.NDArray[np.float32]:
        """(text_tokens, text_width) float32, padding zero."""
        ...


class HashedText:
    """Each word is a fixed standard-normal vector, drawn from a stream named by the word.

    Case and punctuation do not count; words past `tokens` are dropped; missing ones are zero, so that an
    empty caption is all zeros. It knows which words are equal and nothing of what they mean.
    """

    def __init__(self, tokens: int, width: int) -> None:
        if tokens < 1 or width < 1:
            raise BadInput(f"controls.codec.text_tokens, text_width are {tokens}, {width}; at least 1 each")
        self.tokens = tokens
        self.width = width

    def encode(self, caption: str) -> npt.NDArray[np.float32]:
        """(text_tokens, text_width) float32 of `caption`."""
        embedded = np.zeros((self.tokens, self.width), dtype=np.float32)
        for i, word in enumerate(re.findall(r"\w+", caption.lower())[: self.tokens]):
            embedded[i] = draws.normal((self.width,), "text/hashed", word)
        return embedded


def make_text_encoder(
    codec_section: Mapping[str, Any], paths: Mapping[str, str] | None = None, device: str = "cpu"
) -> TextEncoder:
    """The text encoder of `controls.codec`.

    Args:
        paths: `execution.paths`; an encoder with weights finds them there.
        device: where an encoder with weights computes.

    Raises:
        BadInput: an unknown encoder, or weights that are not there or not usable.
    """
    kind = codec_section["text"]
    if kind == "hashed":
        return HashedText(int(codec_section["text_tokens"]), int(codec_section["text_width"]))
    if kind == "umt5":
        # Torch and transformers cost seconds, and only this encoder needs them.
        from workloads.data.umt5 import load_umt5

        return load_umt5(codec_section, paths or {}, device)
    raise BadInput(f"controls.codec.text is {kind!r}; allowed: hashed, umt5")
