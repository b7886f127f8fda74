"""The measuring networks against the packages that published them, and what a wrong weight file is told.

`peers/reference.json` holds the packages' own numbers, by weights and pictures of `peers/recipe.py`.
"""

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import made_pool
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from workloads.evaluation import evaluate
from workloads.evaluation.features import frechet
from workloads.evaluation.networks.i3d import CLIP_FRAMES, ClipFeatures, I3d, same
from workloads.evaluation.networks.inception import FrameFeatures, Inception
from workloads.evaluation.networks.lpips import Lpips, LpipsDistance
from workloads.evaluation.networks.measures import Measures, measures
from workloads.evaluation.networks.weights import WeightFile, find
from workloads.runtime.errors import BadInput

PEERS = Path(__file__).parent / "peers"
sys.path.insert(0, str(PEERS))
import recipe  # noqa: E402

REFERENCE = json.loads((PEERS / "reference.json").read_text(encoding="utf-8"))
NETWORKS: Mapping[str, Callable[[], nn.Module]] = {
    "alex": lambda: Lpips("alex"),
    "vgg": lambda: Lpips("vgg"),
    "inception": Inception,
    "i3d": I3d,
}


def state(kind: str) -> dict[str, torch.Tensor]:
    with torch.device("meta"):
        keys = NETWORKS[kind]().state_dict()
    return {
        key: torch.from_numpy(recipe.weight(key, tuple(value.shape)))
        for key, value in keys.items()
        if not key.endswith("num_batches_tracked")
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("weights")


@pytest.fixture(scope="module")
def weights(folder: Path) -> Callable[[str], WeightFile]:
    def give(kind: str) -> WeightFile:
        path = folder / f"{kind}.safetensors"
        if not path.exists():
            save_file(state(kind), path)
        return WeightFile(f"a test of {kind}", path)

    return give


@pytest.mark.parametrize("kind", ["alex", "vgg"])
def test_lpips_is_that_of_its_package(kind: str, weights: Callable[[str], WeightFile]) -> None:
    distance = LpipsDistance.load(kind, weights(kind), "cpu")
    for size, expected in zip(((3, 64, 64), (2, 47, 85)), REFERENCE["lpips"][kind], strict=True):
        a, b = (recipe.frames(f"{name}/{size}", size) for name in ("a", "b"))
        np.testing.assert_allclose(distance(a, b), expected, rtol=1e-4)
        np.testing.assert_allclose(distance(b, a), expected, rtol=1e-4)
        assert distance(a, a).tolist() == [0.0] * len(a)


def test_a_pair_has_the_same_lpips_alone_and_among_others(weights: Callable[[str], WeightFile]) -> None:
    distance = LpipsDistance.load("alex", weights("alex"), "cpu")
    a, b = recipe.frames("a", (80, 64, 64)), recipe.frames("b", (80, 64, 64))  # more than one block
    np.testing.assert_allclose(distance(a, b)[70], distance(a[70:71], b[70:71])[0], rtol=1e-5)
    assert distance(a[:0], b[:0]).shape == (0,)


def summary(line: np.ndarray) -> list[float]:
    wide = line.astype(np.float64)
    return [wide.mean(), wide.std(ddof=1), *wide[:12]]


def test_inception_gives_the_features_of_pytorch_fid(weights: Callable[[str], WeightFile]) -> None:
    features = FrameFeatures.load(weights("inception"), "cpu")
    found = [
        summary(line) for size in ((2, 64, 64), (1, 330, 350)) for line in features(recipe.frames(f"fid/{size}", size))
    ]
    np.testing.assert_allclose(found, REFERENCE["inception"], rtol=1e-4, atol=1e-5)


def test_i3d_gives_the_logits_of_its_port_and_leaves_a_broken_clip_out(weights: Callable[[str], WeightFile]) -> None:
    clips = ClipFeatures.load(weights("i3d"), "cpu")
    frames = recipe.frames("fvd", (16, 40, 56))
    found = clips(np.concatenate([frames, frames[: CLIP_FRAMES - 1]]))
    np.testing.assert_allclose([summary(line) for line in found], REFERENCE["i3d"], rtol=1e-4, atol=1e-4)
    assert clips(frames[1:]).shape == (0, 400)


@pytest.mark.parametrize(
    ("size", "kernel", "stride"), [(9, 3, 2), (8, 3, 2), (7, 7, 2), (5, 3, 1), (4, 1, 2), (6, 2, 2)]
)
def test_padding_is_that_of_tensorflow(size: int, kernel: int, stride: int) -> None:
    outputs = -(-size // stride)
    whole = max(0, (outputs - 1) * stride + kernel - size)
    padded = same(torch.ones(1, 1, size, 1, 1), (kernel, 1, 1), (stride, 1, 1))[0, 0, :, 0, 0]
    assert padded.tolist() == [0.0] * (whole // 2) + [1.0] * size + [0.0] * (whole - whole // 2)
    assert (len(padded) - kernel) // stride + 1 == outputs


def test_the_frechet_distance_is_that_of_pytorch_fid() -> None:
    one, two = recipe.features("one", 300, 48), recipe.features("two", 300, 48)
    assert frechet(one, two) == pytest.approx(REFERENCE["frechet"], rel=1e-6)
    assert frechet(one, two, least=301) is None


def test_the_constants_and_doubles_of_published_files_are_taken_and_checked(tmp_path: Path) -> None:
    whole = state("alex")
    whole |= {f"lins.{i}.model.1.weight": whole[f"lin{i}.model.1.weight"].clone() for i in range(5)}
    whole["scaling_layer.shift"] = torch.tensor([-0.030, -0.088, -0.188]).view(1, 3, 1, 1)
    whole["scaling_layer.scale"] = torch.tensor([0.458, 0.448, 0.450]).view(1, 3, 1, 1)
    path = tmp_path / "alex.safetensors"
    save_file(whole, path)
    LpipsDistance.load("alex", WeightFile("here", path), "cpu")
    save_file({**whole, "scaling_layer.shift": torch.zeros(1, 3, 1, 1)}, path)
    with pytest.raises(BadInput, match=r"alex\.safetensors: here: scaling_layer\.shift is not the same as"):
        LpipsDistance.load("alex", WeightFile("here", path), "cpu")
    save_file({**whole, "lins.3.model.1.weight": torch.zeros(1, 256, 1, 1)}, path)
    with pytest.raises(BadInput, match=r"lins\.3\.model\.1\.weight is not the same as lin3\.model\.1\.weight"):
        LpipsDistance.load("alex", WeightFile("here", path), "cpu")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda w: w.pop("lin2.model.1.weight"), r"lacks lin2\.model\.1\.weight; give the published"),
        (lambda w: w.update({"net.slice9.0.weight": torch.zeros(1)}), r"has unknown net\.slice9\.0\.weight"),
        (
            lambda w: w.update({"net.slice2.3.bias": torch.zeros(64)}),
            r"net\.slice2\.3\.bias has shape \(64,\).*\(192,\)",
        ),
        (lambda w: w["net.slice5.10.bias"].fill_(float("nan")), r"net\.slice5\.10\.bias holds values that are not fin"),
        (
            lambda w: w.update({"net.slice1.0.bias": torch.zeros(64, dtype=torch.int32)}),
            r"net\.slice1\.0\.bias is torch\.int32; allowed: floating point",
        ),
    ],
)
def test_a_file_that_is_not_the_networks_is_refused_by_key(
    change: Callable[[dict[str, Any]], Any], told: str, tmp_path: Path
) -> None:
    wrong, path = state("alex"), tmp_path / "alex.safetensors"
    change(wrong)
    save_file(wrong, path)
    with pytest.raises(BadInput, match=rf"alex\.safetensors: here: {told}"):
        LpipsDistance.load("alex", WeightFile("here", path), "cpu")


def test_a_truncated_file_and_a_pickle_under_another_name_are_refused(
    weights: Callable[[str], WeightFile], tmp_path: Path
) -> None:
    path = tmp_path / "alex.safetensors"
    path.write_bytes(weights("alex").path.read_bytes()[:-7])
    with pytest.raises(BadInput, match=r"alex\.safetensors: here: not readable as safetensors: .*cut off"):
        LpipsDistance.load("alex", WeightFile("here", path), "cpu")
    torch.save({"a": torch.zeros(1)}, path)
    with pytest.raises(BadInput, match=r"weights_only=True"):
        LpipsDistance.load("alex", WeightFile("here", path), "cpu")


def test_a_pickle_is_refused_with_the_command_that_converts_it(tmp_path: Path) -> None:
    (tmp_path / "alex.pth").write_bytes(b"")
    with pytest.raises(BadInput, match=r"alex\.pth: s reads weights as safetensors alone.*save_file") as told:
        find("s", {"lpips": str(tmp_path)}, "lpips", "alex")
    assert f"torch.load('{tmp_path}/alex.pth', map_location='cpu', weights_only=True)" in str(told.value)
    with pytest.raises(BadInput, match=r"inception\.safetensors: not there; s needs it \(paths\.inception"):
        find("s", {"inception": str(tmp_path)}, "inception", "inception")
    with pytest.raises(BadInput, match=r"paths\.i3d is not set; .*or choose random"):
        find("s", {}, "i3d", "i3d")


def test_frames_that_are_too_small_for_a_network_are_refused(weights: Callable[[str], WeightFile]) -> None:
    paths = {"lpips": str(weights("alex").path.parent)}
    with pytest.raises(BadInput, match=r"branches\.loop\.perceptual: alex: .* are 16, 30; allowed: 31 and more"):
        measures("loop", ["perceptual"], {"perceptual": "alex"}, paths, (16, 30), "cpu")
    smallest = measures("loop", ["perceptual"], {"perceptual": "alex"}, paths, (31, 31), "cpu").perceptual
    assert smallest.between(recipe.frames("a", (1, 31, 31)), recipe.frames("b", (1, 31, 31)))[0] > 0


def test_stand_ins_are_named_so_and_read_no_file() -> None:
    section = {"perceptual": "random", "frechet": "random", "frechet_video": "random"}
    found = measures("replay", list(section), section, {"lpips": "/nowhere"}, (8, 16), "cpu")
    assert found == Measures()
    assert (found.perceptual.metric, found.frames.metric, found.clips.metric) == (
        "rf_distance",
        "rf_frechet",
        "rf_frechet_video",
    )


def test_an_evaluation_names_its_values_by_the_networks_and_records_their_weights(
    weights: Callable[[str], WeightFile], tmp_path: Path
) -> None:
    controls = {**made_pool.CONTROLS, "data": {**made_pool.CONTROLS["data"], "height": 32, "width": 32}}
    given, before = weights("alex"), made_pool.CONTROLS
    paths = {"lpips": str(given.path.parent), "inception": str(weights("inception").path)}
    made_pool.CONTROLS = controls
    try:
        inputs = made_pool.make_inputs(tmp_path / "inputs")
    finally:
        made_pool.CONTROLS = before
    plain = made_pool.evaluation(tmp_path / "replay", inputs, "replay")
    section = {**made_pool.BRANCHES["replay"], "perceptual": "alex", "frechet": "inception", "cases": 1, "chunks": 1}
    asked = replace(
        plain,
        config={**plain.config, "branch": section},
        execution=replace(plain.execution, paths=paths),
    )
    outcome = made_pool.run(evaluate, asked)
    lines = made_pool.values(tmp_path / "replay" / "out")
    metrics = {line["metric"] for line in lines}
    assert {"lpips", "lpips@chunk0"} <= metrics
    assert not any(name.startswith("rf_distance") for name in metrics)
    assert "fid" not in metrics  # 8 frames are too few, and what is missing has no line
    assert next(line for line in lines if line["metric"] == "lpips")["better"] == "low"
    assert outcome.records["measuring_weights"]["perceptual"] == given.digest()
    with pytest.raises(BadInput, match=r"branches\.replay\.perceptual: vgg needs pretrained weights"):
        made_pool.run(
            evaluate,
            replace(plain, config={**plain.config, "branch": {**section, "perceptual": "vgg"}}),
        )
