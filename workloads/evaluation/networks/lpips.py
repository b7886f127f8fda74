"""LPIPS version 0.1 on AlexNet or VGG16: the learned perceptual distance of two images.

Source: Zhang et al. (2018), "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", eq. 1, with
the scaling layer of the published version 0.1 (the earlier one left it out). Backbones: Krizhevsky (2014) and
Simonyan & Zisserman (2015), up to the rectifier of each of five stages.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from workloads.evaluation.networks.running import blocks, exact, pixels
from workloads.evaluation.networks.weights import WeightFile, load_into
from workloads.runtime.errors import BadInput

Frames = npt.NDArray[np.uint8]
Values = npt.NDArray[np.float64]

SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
"""Of the scaling layer: ImageNet's mean and standard deviation, for values −1..1."""
EPS = 1e-10

Stage = tuple[tuple[str, nn.Module], ...]


@dataclass(frozen=True)
class LpipsBackbone:
    """A classifier's convolutions, cut into the five stages whose last rectifiers are compared."""

    channels: tuple[int, ...]
    """Of the five stages' outputs."""
    least: int
    """Pixels of the smallest image that leaves something of each stage."""


BACKBONES = {"alex": LpipsBackbone((64, 192, 384, 256, 256), 31), "vgg": LpipsBackbone((64, 128, 256, 512, 512), 16)}


class Lpips(nn.Module):
    """Distance of pairs of images; parameters are named as in `lpips.LPIPS`."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.channels = BACKBONES[kind].channels
        stages = _alex() if kind == "alex" else _vgg()
        self.net = nn.ModuleDict({f"slice{i}": _sequence(stage) for i, stage in enumerate(stages, 1)})
        for i, channels in enumerate(self.channels):
            # Named `lin{i}.model.1`: in the original a dropout stands before it.
            line = nn.Conv2d(channels, 1, 1, bias=False)
            self.add_module(f"lin{i}", nn.ModuleDict({"model": nn.ModuleDict({"1": line})}))

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """(n, 3, h, w) in −1..1, twice, to (n,) distances, 0 where they are equal."""
        shift, scale = (torch.tensor(v, device=a.device).view(1, 3, 1, 1) for v in (SHIFT, SCALE))
        x, total = (torch.cat([a, b]) - shift) / scale, torch.zeros(len(a), device=a.device)
        for i, stage in enumerate(self.net.values()):
            x = stage(x)
            one, two = (x / (x.square().sum(dim=1, keepdim=True).sqrt() + EPS)).chunk(2)
            total = total + self._line(i)((one - two).square()).mean(dim=(1, 2, 3))
        return total

    def _line(self, stage: int) -> nn.Module:
        return self.get_submodule(f"lin{stage}.model.1")


@dataclass(frozen=True)
class LpipsDistance:
    """LPIPS of frames as they are on disk."""

    network: Lpips
    least: int
    setting: str
    device: str

    @staticmethod
    def load(kind: str, file: WeightFile, device: str) -> "LpipsDistance":
        """Read `file` as the network `kind`.

        Raises:
            BadInput: a file that is not this network's.
        """
        with torch.device("meta"):
            network = Lpips(kind)
        optional: dict[str, Any] = {f"lins.{i}.model.1.weight": f"lin{i}.model.1.weight" for i in range(5)}
        optional |= {"scaling_layer.shift": torch.tensor(SHIFT), "scaling_layer.scale": torch.tensor(SCALE)}
        load_into(network, file, optional)
        return LpipsDistance(network.to(device), BACKBONES[kind].least, file.setting, device)

    def check(self, height: int, width: int) -> None:
        """Refuse frames of which a stage would leave nothing.

        Raises:
            BadInput: they are too small.
        """
        if min(height, width) < self.least:
            raise BadInput(
                f"{self.setting}: controls.data.height, width are {height}, {width}; allowed: {self.least} and more. "
                "Make frames larger, or choose random, a stand-in that is named so"
            )

    def __call__(self, a: Frames, b: Frames) -> Values:
        """Distance of each pair of frames (t, h, w, 3) uint8, (t,)."""
        found = [np.zeros(0)]
        for part in blocks(a):
            with exact(self.device):
                one, two = (pixels(frames[part], self.device) * 2 - 1 for frames in (a, b))
                found.append(self.network(one, two).double().cpu().numpy())
        return np.concatenate(found)


def _sequence(stage: Stage) -> nn.Sequential:
    whole = nn.Sequential()
    for name, layer in stage:
        whole.add_module(name, layer)
    return whole


def _alex() -> Sequence[Stage]:
    return (
        (("0", nn.Conv2d(3, 64, 11, 4, 2)), ("1", nn.ReLU())),
        (("2", nn.MaxPool2d(3, 2)), ("3", nn.Conv2d(64, 192, 5, 1, 2)), ("4", nn.ReLU())),
        (("5", nn.MaxPool2d(3, 2)), ("6", nn.Conv2d(192, 384, 3, 1, 1)), ("7", nn.ReLU())),
        (("8", nn.Conv2d(384, 256, 3, 1, 1)), ("9", nn.ReLU())),
        (("10", nn.Conv2d(256, 256, 3, 1, 1)), ("11", nn.ReLU())),
    )


def _vgg() -> Sequence[Stage]:
    stages, number, before = [], itertools.count(), 3
    for convolutions, channels in zip((2, 2, 3, 3, 3), BACKBONES["vgg"].channels, strict=True):
        layers: list[nn.Module] = [] if before == 3 else [nn.MaxPool2d(2, 2)]
        for _ in range(convolutions):
            layers += [nn.Conv2d(before, channels, 3, 1, 1), nn.ReLU()]
            before = channels
        stages.append(tuple((str(next(number)), layer) for layer in layers))
    return stages
