"""What an evaluation records of what it was given."""

from dataclasses import replace
from pathlib import Path

import made_pool
import pytest
import torch
from safetensors.torch import save_file

from workloads.data import generate
from workloads.data.pool import Pool
from workloads.data.poses import Poses
from workloads.evaluation.branches import loop
from workloads.evaluation.cases import Setting
from workloads.evaluation.recorded import codec_weights, commanded

F = int(made_pool.CONTROLS["data"]["chunk_frames"])


def pool_of(folder: Path, seed: int = 0) -> Pool:
    data = {**made_pool.CONTROLS["data"], "seed": seed}
    made_pool.run(generate, made_pool.request(folder, "data", {"data": data}, {}))
    return Pool.open(folder / "out")


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    return pool_of(tmp_path_factory.mktemp("pool"))


def settings_of(pool: Pool) -> list[Setting]:
    return list(loop.settings(pool, made_pool.BRANCHES["loop"], F))


def turned(setting: Setting, by_deg: float) -> Setting:
    poses = setting.poses.array()
    poses[-1, 3] += by_deg
    return replace(setting, poses=Poses.from_array(poses))


def test_what_rows_are_told_is_told_apart_by_pose_and_first_frame(pool: Pool, tmp_path: Path) -> None:
    settings = settings_of(pool)
    same = commanded(settings, pool)
    assert commanded(settings_of(pool), pool) == same
    assert commanded([*settings[:-1], turned(settings[-1], 1e-9)], pool) == same  # the last digits of another processor
    assert commanded([*settings[:-1], turned(settings[-1], 1e-3)], pool) != same
    assert commanded(settings[:-1], pool) == {case: digest for case, digest in same.items() if case != settings[-1].id}
    other = pool_of(tmp_path, seed=1)  # the same ids and turns in other worlds
    elsewhere = commanded(settings_of(other), other)
    assert elsewhere.keys() == same.keys() and not set(elsewhere.values()) & set(same.values())


def weights(folder: Path, stem: str, value: float) -> Path:
    folder.mkdir(parents=True)
    save_file({"a": torch.full((2,), value)}, folder / f"{stem}.safetensors")
    return folder


def test_weights_of_the_codec_are_told_apart_by_their_content_alone(tmp_path: Path) -> None:
    found = []
    for name, value in (("here", 1.0), ("there", 1.0), ("other", 2.0)):
        vae = weights(tmp_path / name, "diffusion_pytorch_model", value)
        found.append(codec_weights({"kind": "wan", "text": "hashed"}, {"guidance": 5.0}, {"wan_vae": str(vae)}))
    assert found[0] == found[1] != found[2] and list(found[0]) == ["wan_vae"]
    weights(tmp_path / "text" / "text_encoder", "model", 1.0)
    text = {"kind": "space-to-depth", "text": "umt5"}
    paths = {"umt5": str(tmp_path / "text")}
    assert list(codec_weights(text, {"guidance": 5.0}, paths)) == ["umt5"]
    assert codec_weights(text, {"guidance": 1.0}, paths) == {}
