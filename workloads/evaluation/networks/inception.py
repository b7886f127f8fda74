"""Features of the Fréchet inception distance: Inception v3 as it was published with TensorFlow in 2015.

Source: Heusel et al. (2017), "GANs Trained by a Two Time-Scale Update Rule", and Szegedy et al. (2016). The network
behind published FID values differs from other Inception v3: average pools do not count their padding, and the last
block pools by the maximum; both as in its PyTorch port, pytorch-fid, whose key names these are. Images are resized to
299 × 299, bilinear between pixel centres, as there.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from workloads.evaluation.networks.running import blocks, exact, pixels
from workloads.evaluation.networks.weights import WeightFile, load_into

Frames = npt.NDArray[np.uint8]
Features = npt.NDArray[np.float32]

SIDE = 299
FEATURES = 2048
LEAST_FRAMES = 2048
"""As the originals advise: a covariance of 2,048 features has full rank from more samples only."""

Pair = tuple[int, int]


class ConvUnit(nn.Module):
    """Convolution without bias, normalisation, rectifier."""

    def __init__(self, inputs: int, outputs: int, kernel: int | Pair, stride: int = 1, padding: int | Pair = 0) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, h, w) to (n, c', h', w')."""
        return functional.relu(self.bn(self.conv(x)))


class InceptionBlock(nn.Module):
    """Parallel branches over one input, joined along channels; `names` are those of its units."""

    def unit(self, name: str, x: Tensor) -> Tensor:
        """One of the block's units."""
        found: Tensor = self.get_submodule(name)(x)
        return found

    def chain(self, x: Tensor, *names: str) -> Tensor:
        """Units one after the other."""
        for name in names:
            x = self.unit(name, x)
        return x


class BlockA(InceptionBlock):
    """35 × 35: 1×1, 5×5, double 3×3, pool."""

    def __init__(self, inputs: int, pooled: int) -> None:
        super().__init__()
        self.branch1x1 = ConvUnit(inputs, 64, 1)
        self.branch5x5_1, self.branch5x5_2 = ConvUnit(inputs, 48, 1), ConvUnit(48, 64, 5, padding=2)
        self.branch3x3dbl_1, self.branch3x3dbl_2 = ConvUnit(inputs, 64, 1), ConvUnit(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = ConvUnit(96, 96, 3, padding=1)
        self.branch_pool = ConvUnit(inputs, pooled, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs, h, w) to (n, 224 + pooled, h, w)."""
        return torch.cat(
            [
                self.branch1x1(x),
                self.chain(x, "branch5x5_1", "branch5x5_2"),
                self.chain(x, "branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3"),
                self.branch_pool(_average(x)),
            ],
            dim=1,
        )


class BlockB(InceptionBlock):
    """35 × 35 to 17 × 17."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.branch3x3 = ConvUnit(inputs, 384, 3, stride=2)
        self.branch3x3dbl_1, self.branch3x3dbl_2 = ConvUnit(inputs, 64, 1), ConvUnit(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = ConvUnit(96, 96, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs, h, w) to (n, 480 + inputs, h', w')."""
        double = self.chain(x, "branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3")
        return torch.cat([self.branch3x3(x), double, functional.max_pool2d(x, 3, 2)], dim=1)


class BlockC(InceptionBlock):
    """17 × 17: convolutions of 7 taken apart into rows and columns."""

    def __init__(self, inputs: int, middle: int) -> None:
        super().__init__()
        row, column = ((1, 7), (0, 3)), ((7, 1), (3, 0))
        self.branch1x1 = ConvUnit(inputs, 192, 1)
        self.branch7x7_1 = ConvUnit(inputs, middle, 1)
        self.branch7x7_2 = ConvUnit(middle, middle, row[0], padding=row[1])
        self.branch7x7_3 = ConvUnit(middle, 192, column[0], padding=column[1])
        self.branch7x7dbl_1 = ConvUnit(inputs, middle, 1)
        self.branch7x7dbl_2 = ConvUnit(middle, middle, column[0], padding=column[1])
        self.branch7x7dbl_3 = ConvUnit(middle, middle, row[0], padding=row[1])
        self.branch7x7dbl_4 = ConvUnit(middle, middle, column[0], padding=column[1])
        self.branch7x7dbl_5 = ConvUnit(middle, 192, row[0], padding=row[1])
        self.branch_pool = ConvUnit(inputs, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs, h, w) to (n, 768, h, w)."""
        return torch.cat(
            [
                self.branch1x1(x),
                self.chain(x, *(f"branch7x7_{i}" for i in (1, 2, 3))),
                self.chain(x, *(f"branch7x7dbl_{i}" for i in (1, 2, 3, 4, 5))),
                self.branch_pool(_average(x)),
            ],
            dim=1,
        )


class BlockD(InceptionBlock):
    """17 × 17 to 8 × 8."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.branch3x3_1, self.branch3x3_2 = ConvUnit(inputs, 192, 1), ConvUnit(192, 320, 3, stride=2)
        self.branch7x7x3_1 = ConvUnit(inputs, 192, 1)
        self.branch7x7x3_2 = ConvUnit(192, 192, (1, 7), padding=(0, 3))
        self.branch7x7x3_3 = ConvUnit(192, 192, (7, 1), padding=(3, 0))
        self.branch7x7x3_4 = ConvUnit(192, 192, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs, h, w) to (n, 512 + inputs, h', w')."""
        three = self.chain(x, "branch3x3_1", "branch3x3_2")
        seven = self.chain(x, *(f"branch7x7x3_{i}" for i in (1, 2, 3, 4)))
        return torch.cat([three, seven, functional.max_pool2d(x, 3, 2)], dim=1)


class BlockE(InceptionBlock):
    """8 × 8; `by_maximum`: the last block's pool, which in this network alone is not an average."""

    def __init__(self, inputs: int, by_maximum: bool) -> None:
        super().__init__()
        self.by_maximum = by_maximum
        self.branch1x1 = ConvUnit(inputs, 320, 1)
        self.branch3x3_1 = ConvUnit(inputs, 384, 1)
        self.branch3x3_2a = ConvUnit(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3_2b = ConvUnit(384, 384, (3, 1), padding=(1, 0))
        self.branch3x3dbl_1, self.branch3x3dbl_2 = ConvUnit(inputs, 448, 1), ConvUnit(448, 384, 3, padding=1)
        self.branch3x3dbl_3a = ConvUnit(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3dbl_3b = ConvUnit(384, 384, (3, 1), padding=(1, 0))
        self.branch_pool = ConvUnit(inputs, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs, h, w) to (n, 2048, h, w)."""
        single, double = self.branch3x3_1(x), self.chain(x, "branch3x3dbl_1", "branch3x3dbl_2")
        pool = functional.max_pool2d(x, 3, 1, 1) if self.by_maximum else _average(x)
        return torch.cat(
            [
                self.branch1x1(x),
                self.branch3x3_2a(single),
                self.branch3x3_2b(single),
                self.branch3x3dbl_3a(double),
                self.branch3x3dbl_3b(double),
                self.branch_pool(pool),
            ],
            dim=1,
        )


class Inception(nn.Module):
    """Images to 2,048 features; parameters are named as in the published file."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3, self.Conv2d_2a_3x3 = ConvUnit(3, 32, 3, stride=2), ConvUnit(32, 32, 3)
        self.Conv2d_2b_3x3 = ConvUnit(32, 64, 3, padding=1)
        self.Conv2d_3b_1x1, self.Conv2d_4a_3x3 = ConvUnit(64, 80, 1), ConvUnit(80, 192, 3)
        self.Mixed_5b, self.Mixed_5c, self.Mixed_5d = BlockA(192, 32), BlockA(256, 64), BlockA(288, 64)
        self.Mixed_6a = BlockB(288)
        self.Mixed_6b, self.Mixed_6c = BlockC(768, 128), BlockC(768, 160)
        self.Mixed_6d, self.Mixed_6e = BlockC(768, 160), BlockC(768, 192)
        self.Mixed_7a = BlockD(768)
        self.Mixed_7b, self.Mixed_7c = BlockE(1280, by_maximum=False), BlockE(2048, by_maximum=True)

    def forward(self, x: Tensor) -> Tensor:
        """(n, 3, h, w) in 0..1 to (n, 2048)."""
        x = functional.interpolate(x, size=(SIDE, SIDE), mode="bilinear", align_corners=False) * 2 - 1
        x = functional.max_pool2d(self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x))), 3, 2)
        x = functional.max_pool2d(self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x)), 3, 2)
        for name, block in self.named_children():
            if name.startswith("Mixed"):
                x = block(x)
        return x.mean(dim=(2, 3))


@dataclass(frozen=True)
class FrameFeatures:
    """Inception's features of frames as they are on disk."""

    network: Inception
    device: str

    @staticmethod
    def load(file: WeightFile, device: str) -> "FrameFeatures":
        """Read `file`.

        Raises:
            BadInput: a file that is not this network's.
        """
        with torch.device("meta"):
            network = Inception()
        load_into(network, file, {"fc.weight": None, "fc.bias": None})  # the classifier, which features do not need
        return FrameFeatures(network.to(device), device)

    def __call__(self, frames: Frames) -> Features:
        """(t, h, w, 3) uint8 to (t, 2048)."""
        found = [np.zeros((0, FEATURES), np.float32)]
        for part in blocks(frames, SIDE * SIDE):
            with exact(self.device):
                found.append(self.network(pixels(frames[part], self.device)).cpu().numpy())
        return np.concatenate(found)


def _average(x: Tensor) -> Tensor:
    return functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
