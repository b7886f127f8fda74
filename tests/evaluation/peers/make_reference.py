"""Write reference.json: what the published packages compute with the weights and pictures of recipe.py.

They cannot live in the project's environment, so their numbers are committed. To make them again:

    python -m venv peers && peers/bin/pip install torch==2.13.0 numpy scipy
    peers/bin/pip install --no-deps torchvision lpips==0.1.4 pytorch-fid==0.3.0 cd-fvd==0.1.1 pillow tqdm
    peers/bin/python tests/evaluation/peers/make_reference.py
"""

import importlib.metadata
import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from recipe import features, frames, weight

# torchvision's compiled operators may not load beside a CPU build of torch; its networks use none of them.
operators = torch.library.Library("torchvision", "DEF")
for operator in ("nms", "qnms", "roi_align", "roi_pool", "ps_roi_align", "ps_roi_pool", "deform_conv2d"):
    operators.define(f"{operator}(Tensor a, Tensor b, float c) -> Tensor")

import lpips  # noqa: E402
import pytorch_fid.inception  # noqa: E402
import torchvision  # noqa: E402
from pytorch_fid.fid_score import calculate_frechet_distance  # noqa: E402

PACKAGES = ("torch", "torchvision", "lpips", "pytorch-fid", "cd-fvd", "numpy", "scipy")


def made(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A state dict of the same keys and shapes, by the recipe."""
    return {
        key: value if key.endswith("num_batches_tracked") else torch.from_numpy(weight(key, tuple(value.shape)))
        for key, value in state.items()
    }


def unit(clip: np.ndarray) -> torch.Tensor:
    """Frames (t, h, w, 3) as (t, 3, h, w) in 0..1."""
    return torch.from_numpy(clip).permute(0, 3, 1, 2).float() / 255


def perceptual(kind: str) -> list[list[float]]:
    """Distances of two clips of either size."""
    network = lpips.LPIPS(net=kind, pretrained=False, pnet_rand=True, verbose=False)
    kept = {k: v for k, v in network.state_dict().items() if not k.startswith(("scaling_layer", "lins."))}
    network.load_state_dict(made(kept), strict=False)
    found = []
    for size in ((3, 64, 64), (2, 47, 85)):
        a, b = (unit(frames(f"{name}/{size}", size)) for name in ("a", "b"))
        found.append(network(a, b, normalize=True).flatten().tolist())
    return found


def inception() -> list[list[float]]:
    """Features of frames of two sizes: their mean, their spread and the first twelve."""
    blank = torchvision.models.inception_v3(num_classes=1008, aux_logits=False, weights=None, init_weights=False)
    pytorch_fid.inception.load_state_dict_from_url = lambda url, progress: made(blank.state_dict())
    network = pytorch_fid.inception.InceptionV3().eval()
    return [
        summary(line)
        for size in ((2, 64, 64), (1, 330, 350))
        for line in network(unit(frames(f"fid/{size}", size)))[0][:, :, 0, 0]
    ]


def i3d() -> list[list[float]]:
    """Logits of one clip of 16 frames."""
    folder = importlib.metadata.distribution("cd-fvd").locate_file("cdfvd/third_party/i3d/pytorch_i3d.py")
    spec = importlib.util.spec_from_file_location("pytorch_i3d", str(folder))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    network = module.InceptionI3d(400, in_channels=3).eval()
    network.load_state_dict(made(network.state_dict()))
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm3d):
            layer.eps = 1e-3  # the original's and pytorch-i3d's; this copy has 1e-5, which moves logits by about 1 %
    clip = unit(frames("fvd", (16, 40, 56)))
    large = torch.nn.functional.interpolate(clip, size=(224, 224), mode="bilinear", align_corners=False)
    return [summary(line) for line in network((large * 2 - 1).transpose(0, 1)[None])]


def summary(line: torch.Tensor) -> list[float]:
    """Mean, spread and the first twelve of a line of features."""
    return [float(line.double().mean()), float(line.double().std()), *map(float, line[:12])]


def frechet() -> float:
    """Fréchet distance of two sets of 300 lines of 48 features."""
    sets = [features(name, 300, 48) for name in ("one", "two")]
    moments: list[Any] = [part for x in sets for part in (x.mean(axis=0), np.cov(x, rowvar=False))]
    return float(calculate_frechet_distance(*moments))


if __name__ == "__main__":
    with torch.inference_mode():
        reference = {
            "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
            "lpips": {kind: perceptual(kind) for kind in ("alex", "vgg")},
            "inception": inception(),
            "i3d": i3d(),
            "frechet": frechet(),
        }
    text = json.dumps(reference, indent=1) + "\n"
    (Path(__file__).parent / "reference.json").write_text(text, encoding="utf-8")
