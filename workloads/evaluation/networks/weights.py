"""Weights of a measuring network from a file that the user gives: safetensors alone, every key checked.

Keys are those of the published state dicts, so that converting one is saving it again:

| setting | file | keys as in |
|---|---|---|
| `perceptual: alex`, `vgg` | `paths.lpips`/`alex.safetensors`, `vgg.safetensors` | `lpips.LPIPS(net="alex")` |
| `frechet: inception` | `paths.inception` | `pt_inception-2015-12-05-6726825d.pth` (pytorch-fid) |
| `frechet_video: i3d` | `paths.i3d` | `rgb_imagenet.pt` (pytorch-i3d), 400 classes |
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from workloads.data.safetensors_files import open_tensors
from workloads.runtime.errors import BadInput

SUFFIX = ".safetensors"
PICKLED = (".pth", ".pt", ".pkl", ".pickle", ".bin", ".ckpt", ".tar", ".npz", ".npy")
"""Endings under which weights are published in forms that can run code when they are read."""


@dataclass(frozen=True)
class WeightFile:
    """Where a network's weights are said to lie."""

    setting: str
    """The key that asked for them, with its value: `branches.replay.perceptual: alex`."""
    path: Path

    def digest(self) -> str:
        """sha256 of the file: which weights a value was measured with."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


def find(setting: str, paths: Mapping[str, str], key: str, name: str) -> WeightFile:
    """The file `name`.safetensors in the folder `paths[key]`, or that path itself where it is a file.

    Raises:
        BadInput: no path given, nothing there, or a pickle.
    """
    given = paths.get(key)
    if given is None:
        raise BadInput(
            f"{setting} needs pretrained weights, but paths.{key} is not set; set it in cluster/*.yaml to the folder "
            f"of {name}{SUFFIX}, or choose random: a stand-in that is named so"
        )
    path = Path(given)
    if path.is_dir():
        path = path / f"{name}{SUFFIX}"
        others = [path.with_suffix(suffix) for suffix in PICKLED if path.with_suffix(suffix).is_file()]
        if not path.is_file() and others:
            path = others[0]
    if path.suffix in PICKLED:
        raise BadInput(f"{path}: {setting} reads weights as safetensors alone, since {_danger(path)}")
    if not path.is_file():
        raise BadInput(f"{path}: not there; {setting} needs it (paths.{key} in cluster/*.yaml)")
    return WeightFile(setting, path)


def load_into(network: nn.Module, file: WeightFile, optional: Mapping[str, Tensor | str | None]) -> None:
    """Give `network` (built on the device `meta`) the weights of `file`, as float32.

    Args:
        network: its state dict says which keys the file has, and in which shapes.
        file: what `find` gave.
        optional: keys that published files have beside those, and what must be in them: a tensor, the same as
            another key, or anything (None). They are not used.

    Raises:
        BadInput: not safetensors, truncated, a key that is missing or unknown, a shape or type that differs, or
            values that are not finite.
    """
    expected = {key: tuple(value.shape) for key, value in network.state_dict().items() if not _counts_batches(key)}
    with open_tensors(file.path, asked=file.setting, remedy=_danger(file.path)) as stored:
        keys = {key for key in stored.keys() if not _counts_batches(key)}  # noqa: SIM118
        _complain(file, "lacks", sorted(set(expected) - keys))
        _complain(file, "has unknown", sorted(keys - set(expected) - set(optional)))
        found = {key: _checked(file, key, stored.get_tensor(key), expected[key]) for key in expected}
        for key in sorted(keys & set(optional)):
            _same(file, key, stored.get_tensor(key), optional[key], found)
    # Batch counters of normalisation layers are read in training alone.
    counters = {key: torch.tensor(0) for key in network.state_dict() if _counts_batches(key)}
    network.load_state_dict({**found, **counters}, assign=True)
    network.eval().requires_grad_(requires_grad=False)


def _danger(path: Path) -> str:
    target = path.with_suffix(SUFFIX)
    return (
        "reading a pickle can run code; convert a state dict that you trust, once: "
        f'python -c "import torch, safetensors.torch as s; s.save_file({{k: v.clone() for k, v in '
        f"torch.load('{path}', map_location='cpu', weights_only=True).items()}}, '{target}')\""
    )


def _counts_batches(key: str) -> bool:
    return key.endswith(".num_batches_tracked")


def _complain(file: WeightFile, what: str, keys: list[str]) -> None:
    if keys:
        more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
        raise BadInput(
            f"{file.path}: {file.setting}: {what} {', '.join(keys[:3])}{more}; give the published state dict's keys "
            "unchanged"
        )


def _checked(file: WeightFile, key: str, value: Tensor, shape: tuple[int, ...]) -> Tensor:
    if tuple(value.shape) != shape:
        raise BadInput(
            f"{file.path}: {file.setting}: {key} has shape {tuple(value.shape)}, expected {shape}: another network's?"
        )
    if not value.is_floating_point():
        raise BadInput(f"{file.path}: {file.setting}: {key} is {value.dtype}; allowed: floating point")
    if not bool(torch.isfinite(value).all()):
        raise BadInput(f"{file.path}: {file.setting}: {key} holds values that are not finite; download it again")
    return value.float().contiguous()


def _same(file: WeightFile, key: str, value: Tensor, wanted: Tensor | str | None, found: Mapping[str, Tensor]) -> None:
    if wanted is None:
        return
    as_expected = found[wanted] if isinstance(wanted, str) else wanted
    if value.numel() != as_expected.numel() or not torch.allclose(value.float().flatten(), as_expected.flatten()):
        other = wanted if isinstance(wanted, str) else "the published constant"
        raise BadInput(f"{file.path}: {file.setting}: {key} is not the same as {other}; give the published weights")
