"""Common random numbers: every draw has its own stream, named by what it is for.

A stream is Philox keyed by sha256 of (purpose, key...), so a draw depends on its name alone: not
on rank, world size, row, order of construction or interruptions (study.md section 1). Draws are
made on the host in float32.
"""

import hashlib

import numpy as np
import numpy.typing as npt


def stream(purpose: str, *key: str | int) -> np.random.Generator:
    """The generator of one named purpose; the same name gives the same numbers for ever."""
    name = "\x1f".join([purpose, *(f"{type(part).__name__}:{part}" for part in key)])
    digest = hashlib.sha256(name.encode("utf-8")).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "big")))


def normal(shape: tuple[int, ...], purpose: str, *key: str | int) -> npt.NDArray[np.float32]:
    """Standard normal numbers of `shape`, float32."""
    return stream(purpose, *key).standard_normal(shape, dtype=np.float32)


def uniform(shape: tuple[int, ...], purpose: str, *key: str | int) -> npt.NDArray[np.float32]:
    """Uniform numbers in [0, 1) of `shape`, float32."""
    return stream(purpose, *key).random(shape, dtype=np.float32)
