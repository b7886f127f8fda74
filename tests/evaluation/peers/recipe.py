"""Weights and pictures that are the same wherever they are made: functions of a name and a shape. numpy alone."""

import hashlib

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]


def generator(name: str) -> np.random.Generator:
    """The stream of a name."""
    return np.random.Generator(np.random.Philox(key=int.from_bytes(hashlib.sha256(name.encode()).digest()[:16])))


def weight(key: str, shape: tuple[int, ...]) -> Array:
    """One entry of a state dict, such that features neither vanish nor explode."""
    random = generator(key)
    if key.endswith("running_var"):
        values = random.uniform(0.5, 1.5, shape)
    elif key.startswith("lin"):
        values = random.uniform(0.0, 2.0, shape)  # those of LPIPS are never negative
    elif len(shape) > 1:
        values = random.normal(size=shape) * np.sqrt(2.0 / np.prod(shape[1:]))
    elif key.endswith("weight"):
        values = random.normal(1.0, 0.1, shape)
    else:
        values = random.normal(0.0, 0.1, shape)
    return np.asarray(values, dtype=np.float32)


def frames(name: str, shape: tuple[int, int, int]) -> npt.NDArray[np.uint8]:
    """Frames (t, h, w, 3): waves of a random direction in each channel, and noise."""
    t, h, w = shape
    random = generator(name)
    grid = np.stack(np.meshgrid(*(np.linspace(0, 1, n) for n in shape), indexing="ij"), axis=-1)
    waves = np.sin(grid @ random.normal(0, 9, (3, 3)) + random.uniform(0, 6, 3))
    values = 127.5 + 90 * waves + random.normal(0, 12, (t, h, w, 3))
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def features(name: str, lines: int, width: int) -> npt.NDArray[np.float64]:
    """Correlated features with a mean, (lines, width)."""
    random = generator(name)
    mixed: npt.NDArray[np.float64] = random.normal(size=(lines, width)) @ random.normal(size=(width, width))
    return mixed + random.normal(size=width)
