"""Latents of a checkpoint are compared with their digests: from the first scene that differs on they are made again."""

import json
from pathlib import Path

import numpy as np
import pytest
from test_real_pool import CODECS, DATA, FRAMES, paths, stage
from write_cam_pool import write_pool

__all__ = ["paths"]  # a fixture


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def damage(path: Path, at: int) -> None:
    """Change one value, as a disk would: in whatever name the file has."""
    values = np.load(path, mmap_mode="r+", allow_pickle=False)
    values.reshape(-1)[at] += 1
    values.flush()


@pytest.mark.parametrize("kind", CODECS)
def test_encoding_goes_on_from_the_first_damaged_scene(
    kind: str, paths: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = {**paths, "pool": write_pool(tmp_path / "pool", 6, FRAMES)}
    inputs = {"data": stage(tmp_path / "data", "data", {"data": DATA}, {}, small)[0]}
    config = {"data": DATA, "codec": CODECS[kind]}
    whole, outcome = stage(tmp_path / "a0", "latents", config, inputs, paths)
    stage(tmp_path / "a1", "latents", config, inputs, paths, stop_at=3)
    checkpoint = tmp_path / "a1" / "work" / "checkpoints" / "step-3"
    scenes = list(json.loads((checkpoint / "manifest.json").read_text(encoding="utf-8"))["digests"])
    if (checkpoint / "latents.npy").is_file():
        each = np.load(checkpoint / "latents.npy", mmap_mode="r").size // sum(
            span[1] for span in json.loads((whole / "meta.json").read_text(encoding="utf-8"))["spans"].values()
        )
        damage(checkpoint / "latents.npy", at=FRAMES * each)  # the second scene's first value
    else:
        damage(checkpoint / "evidence" / f"{scenes[1]}.npy", at=0)
    out, again = stage(tmp_path / "a2", "latents", config, inputs, paths, resume=str(checkpoint))
    assert f"{checkpoint}: the latents of {scenes[1]} are damaged; encoding goes on" in capsys.readouterr().out
    assert again.records == outcome.records
    assert files(out) == files(whole)


@pytest.mark.parametrize("kind", CODECS)
def test_damaged_text_has_the_stage_begin_anew(
    kind: str, paths: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = {**paths, "pool": write_pool(tmp_path / "pool", 6, FRAMES)}
    inputs = {"data": stage(tmp_path / "data", "data", {"data": DATA}, {}, small)[0]}
    config = {"data": DATA, "codec": CODECS[kind]}
    whole, _ = stage(tmp_path / "a0", "latents", config, inputs, paths)
    stage(tmp_path / "a1", "latents", config, inputs, paths, stop_at=3)
    checkpoint = tmp_path / "a1" / "work" / "checkpoints" / "step-3"
    damage(checkpoint / "text.npy", at=0)
    out, _ = stage(tmp_path / "a2", "latents", config, inputs, paths, resume=str(checkpoint))
    said = capsys.readouterr().out
    assert f"{checkpoint}: text.npy is not what manifest.json lists" in said and "it begins anew" in said
    assert files(out) == files(whole)
