"""Features of the Fréchet video distance: the logits of I3D, trained on the 400 classes of Kinetics.

Source: Unterthiner et al. (2018), "Towards Accurate Generative Models of Video": logits of I3D (Carreira & Zisserman,
2017, RGB) averaged over time, clips resized to 224 × 224 (bilinear, between pixel centres, as PyTorch ports do;
TensorFlow's original resizing sits half a pixel off), values −1..1. Published values use clips of 10 to 16 frames; here
they are 16 consecutive frames that share none. Key names are those of the port pytorch-i3d, and so is 1e-3 in the
normalisation, as in the original (some copies have 1e-5, which moves random logits by about 1 %). Convolutions and
pools are padded as TensorFlow does for "same": as little as gives ceil(n / stride) outputs, the odd one behind.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from workloads.evaluation.networks.running import exact, pixels
from workloads.evaluation.networks.weights import WeightFile, load_into

Frames = npt.NDArray[np.uint8]
Features = npt.NDArray[np.float32]

SIDE = 224
FEATURES = 400
CLIP_FRAMES = 16
LEAST_CLIPS = 400
"""A covariance of 400 features has full rank from more clips only."""

Triple = tuple[int, int, int]


def same(x: Tensor, kernel: Triple, stride: Triple) -> Tensor:
    """Pad (n, c, t, h, w) with zeros so that a window of `kernel` and `stride` gives ceil(size / stride) outputs."""
    sides: list[int] = []
    for size, k, s in zip(x.shape[2:], kernel, stride, strict=True):
        whole = max(0, (-(-size // s) - 1) * s + k - size)
        sides = [whole // 2, whole - whole // 2, *sides]  # functional.pad counts from the last dimension
    return functional.pad(x, sides)


def pool(x: Tensor, kernel: Triple, stride: Triple) -> Tensor:
    """The maximum over windows; the padding's zeros are never above rectified values."""
    return functional.max_pool3d(same(x, kernel, stride), kernel, stride)


class InflatedUnit(nn.Module):
    """Convolution, normalisation and rectifier."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.kernel, self.stride = (kernel,) * 3, (stride,) * 3
        self.conv3d = nn.Conv3d(inputs, outputs, self.kernel, self.stride, bias=False)
        self.bn = nn.BatchNorm3d(outputs, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, t, h, w) to (n, c', t', h', w')."""
        return functional.relu(self.bn(self.conv3d(same(x, self.kernel, self.stride))))


class Mixed(nn.Module):
    """Four parallel branches, joined along channels."""

    def __init__(self, inputs: int, b0: int, b1a: int, b1b: int, b2a: int, b2b: int, b3b: int) -> None:
        super().__init__()
        self.b0 = InflatedUnit(inputs, b0, 1)
        self.b1a, self.b1b = InflatedUnit(inputs, b1a, 1), InflatedUnit(b1a, b1b, 3)
        self.b2a, self.b2b = InflatedUnit(inputs, b2a, 1), InflatedUnit(b2a, b2b, 3)
        self.b3b = InflatedUnit(inputs, b3b, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs, t, h, w) to (n, b0 + b1b + b2b + b3b, t, h, w)."""
        pooled = pool(x, (3, 3, 3), (1, 1, 1))
        return torch.cat([self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(pooled)], dim=1)


class Logits(nn.Module):
    """The classifier: a convolution of one pixel with bias."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv3d = nn.Conv3d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs, t, h, w) to (n, outputs, t, h, w)."""
        found: Tensor = self.conv3d(x)
        return found


class I3d(nn.Module):
    """Clips to 400 logits; parameters are named as in the published file."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv3d_1a_7x7 = InflatedUnit(3, 64, 7, stride=2)
        self.Conv3d_2b_1x1, self.Conv3d_2c_3x3 = InflatedUnit(64, 64, 1), InflatedUnit(64, 192, 3)
        self.Mixed_3b, self.Mixed_3c = Mixed(192, 64, 96, 128, 16, 32, 32), Mixed(256, 128, 128, 192, 32, 96, 64)
        self.Mixed_4b = Mixed(480, 192, 96, 208, 16, 48, 64)
        self.Mixed_4c = Mixed(512, 160, 112, 224, 24, 64, 64)
        self.Mixed_4d = Mixed(512, 128, 128, 256, 24, 64, 64)
        self.Mixed_4e = Mixed(512, 112, 144, 288, 32, 64, 64)
        self.Mixed_4f = Mixed(528, 256, 160, 320, 32, 128, 128)
        self.Mixed_5b = Mixed(832, 256, 160, 320, 32, 128, 128)
        self.Mixed_5c = Mixed(832, 384, 192, 384, 48, 128, 128)
        self.logits = Logits(1024, FEATURES)

    def forward(self, x: Tensor) -> Tensor:
        """(n, 3, t, 224, 224) in −1..1, t at least 9, to (n, 400): logits averaged over time."""
        flat, cube = (1, 3, 3), (3, 3, 3)
        x = pool(self.Conv3d_1a_7x7(x), flat, (1, 2, 2))
        x = pool(self.Conv3d_2c_3x3(self.Conv3d_2b_1x1(x)), flat, (1, 2, 2))
        x = pool(self.Mixed_3c(self.Mixed_3b(x)), cube, (2, 2, 2))
        x = self.Mixed_4f(self.Mixed_4e(self.Mixed_4d(self.Mixed_4c(self.Mixed_4b(x)))))
        x = self.Mixed_5c(self.Mixed_5b(pool(x, (2, 2, 2), (2, 2, 2))))
        logits: Tensor = self.logits(functional.avg_pool3d(x, (2, 7, 7), 1))
        return logits.mean(dim=(2, 3, 4))


@dataclass(frozen=True)
class ClipFeatures:
    """I3D's logits of the clips of a video as it is on disk."""

    network: I3d
    device: str

    @staticmethod
    def load(file: WeightFile, device: str) -> "ClipFeatures":
        """Read `file`.

        Raises:
            BadInput: a file that is not this network's.
        """
        with torch.device("meta"):
            network = I3d()
        load_into(network, file, {})
        return ClipFeatures(network.to(device), device)

    def __call__(self, frames: Frames) -> Features:
        """(t, h, w, 3) uint8 to (t // 16, 400); frames after the last whole clip are left out."""
        found = [np.zeros((0, FEATURES), np.float32)]
        for start in range(0, len(frames) - CLIP_FRAMES + 1, CLIP_FRAMES):
            with exact(self.device):
                x = pixels(frames[start : start + CLIP_FRAMES], self.device)
                x = functional.interpolate(x, size=(SIDE, SIDE), mode="bilinear", align_corners=False) * 2 - 1
                found.append(self.network(x.transpose(0, 1)[None]).cpu().numpy())
        return np.concatenate(found)
