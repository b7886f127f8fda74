"""From a pool in the public layout to a training step, with both codecs; and the check of such a pool."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tiny_models import WAN, make_umt5, make_vae
from write_cam_pool import scene_names, write_open, write_pool

from workloads.contract.request import Execution, Rendezvous, Request
from workloads.contract.rows import resolved
from workloads.data import check, encode, generate, order
from workloads.data.codec import make_codec
from workloads.data.evidence import candidates
from workloads.data.generate import is_held_out
from workloads.data.index import Index
from workloads.data.latents import Latents
from workloads.data.pool import Pool
from workloads.data.text import make_text_encoder
from workloads.evaluation import evaluate
from workloads.evaluation.branches import return_
from workloads.evaluation.lossless import decoded
from workloads.runtime.errors import BadInput
from workloads.runtime.progress import Progress, StageOutcome
from workloads.study.memory.families import row_from
from workloads.training import train
from workloads.training.batches import Batches

F, FRAMES, SCENES = 5, 9, 100
DATA: dict[str, Any] = {
    "source": "context-as-memory", "seed": 0, "height": 16, "width": 32, "chunk_frames": F, "train_scenes": 0,
    "held_out_scenes": 0, "open_prompts": 2, "open_variants": 2, "translation_m": 0.0, "returning_overlap": 0.5,
    "returning_share": 0.5,
}  # fmt: skip
EXACT = {"kind": "space-to-depth", "factor": 2, "text": "hashed", "text_tokens": 4, "text_width": 8}
CODECS: dict[str, dict[str, Any]] = {"space-to-depth": EXACT, "wan": WAN}
EVIDENCE: dict[str, Any] = {"rule": "spread", "min_overlap": 0.3, "drop": 0.0}
TRAINING: dict[str, Any] = {
    "steps": 1, "global_batch": 4, "rate": 2e-3, "warmup_steps": 1, "schedule": "constant", "floor": 0.05, "clip": 1.0,
    "weight_decay": 0.01, "shift": 3.0, "precision": "float32", "spike_ratio": 15.0, "sample_every": 1,
}  # fmt: skip
BACKBONE = {
    "width": 80, "blocks": 1, "heads": 2, "feed_forward": 32, "frequency_width": 16, "recurrent_every": 1, "grid": 2,
    "grid_tokens": 2, "start": "scratch",
}  # fmt: skip
RANDOM = {"perceptual": "random"}
BRANCHES: dict[str, dict[str, Any]] = {
    "replay": {"cases": 2, "chunks": 2, "batch": 2, **RANDOM, "frechet": "random", "frechet_video": "random"},
    "loop": {"cases": 2, "turns_deg": [45.0, -45.0], "batch": 2, **RANDOM},
    "return": {"cases": 2, "turns_deg": [-45.0, 45.0], "batch": 2},
}
STAGES: dict[str, Any] = {
    "data": generate,
    "latents": encode,
    "index": order,
    "train": train,
    "evaluate": evaluate,
}


class Stopping(Progress):
    """Asked to stop when the chosen scene is reached."""

    def __init__(self, work: Path, at: int | None) -> None:
        super().__init__(work)
        self._stop_at = at

    def at(self, step: int, of: int, phase: str) -> None:
        if self._stop_at is not None and phase == "encoding" and step >= self._stop_at:
            self.request_stop()
        super().at(step, of, phase)


def stage(
    folder: Path, name: Any, config: Any, inputs: Any, paths: Any, *, stop_at: int | None = None, **changed: Any
) -> tuple[Path, StageOutcome]:
    for part in ("out", "work"):
        (folder / part).mkdir(parents=True)
    execution = Execution(
        device="cpu", ranks=1, threads=1, micro_batch=None, accumulate=1, deepspeed={}, checkpoint_every_s=1e9,
        keep="weights", grace_s=1.0, deterministic=True, paths={k: str(v) for k, v in paths.items()},
    )  # fmt: skip
    alone = Rendezvous(world_size=1, rank=0, local_rank=0, address=None, port=None, listen_fd=None)
    request = Request(
        job=name, stage=name, branch=None, fingerprint="3" * 64, attempt="a1", config=config, row=None, seed=0,
        inputs={k: str(v) for k, v in inputs.items()}, out=str(folder / "out"), work=str(folder / "work"), resume=None,
        execution=execution, rendezvous=alone,
    )  # fmt: skip
    progress = Stopping(folder / "work", stop_at)
    try:
        return folder / "out", STAGES[name].run(replace(request, **changed), progress)
    finally:
        progress.close()


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("real")
    return {
        "pool": write_pool(root / "pool", SCENES, FRAMES),
        "open": write_open(root / "open"),
        "wan_vae": make_vae(root / "vae"),
        "umt5": make_umt5(root / "umt5"),
    }


@pytest.fixture(scope="module")
def pool_folder(paths: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stage(tmp_path_factory.mktemp("made") / "data", "data", {"data": DATA}, {}, paths)[0]


@pytest.fixture(scope="module", params=["space-to-depth", "wan"])
def made(
    request: pytest.FixtureRequest,
    paths: dict[str, Path],
    pool_folder: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Any]:
    """Latents and index with one codec."""
    codec, root, inputs = CODECS[request.param], tmp_path_factory.mktemp(request.param), {"data": pool_folder}
    latents, outcome = stage(root / "latents", "latents", {"data": DATA, "codec": codec}, inputs, paths)
    sections = {"data": DATA, "codec": {"kind": codec["kind"]}, "evidence": EVIDENCE, "training": TRAINING}
    index, _ = stage(root / "index", "index", sections, inputs, paths)
    return {"codec": codec, "latents": latents, "index": index, "records": outcome.records}


def test_the_pool_is_split_by_name_and_read_as_it_was_written(pool_folder: Path) -> None:
    pool = Pool.open(pool_folder)
    names = sorted(scene_names(SCENES))
    assert sorted((*pool.scenes("train"), *pool.scenes("held_out"))) == names
    assert list(pool.scenes("held_out")) == [name for name in names if is_held_out(name)]
    assert 10 <= len(pool.scenes("held_out")) <= 30
    scene = scene_names(SCENES)[7]
    poses = pool.poses(scene)
    np.testing.assert_allclose(poses.positions_m[2], [7.1, -0.2 + 0.02 * np.sin(2), 1.8])
    np.testing.assert_allclose(poses.yaw_deg[:3], [170, 176, 182])
    starts = [pool.caption(scene, frame) for frame in (0, 2, 3, 5, 8)]
    assert starts == ["a street in the rain"] * 2 + ["an old garden"] * 3


def test_frames_are_resized_to_cover_and_cropped_to_the_centre(pool_folder: Path, paths: dict[str, Path]) -> None:
    pool, scene = Pool.open(pool_folder), scene_names(SCENES)[0]
    image = Image.open(paths["pool"] / "frames" / scene / "0003.png")  # 64 x 30 to 34 x 16, then the middle 32 columns
    expected = np.asarray(image.resize((34, 16), Image.Resampling.BILINEAR))[:, 1:33]
    assert np.array_equal(pool.frames(scene, [3])[0], expected)


def test_the_open_domain_is_a_folder_of_pictures_with_objects_and_prompts(pool_folder: Path) -> None:
    pool = Pool.open(pool_folder)
    assert pool.scenes("open") == ("p-00-v0", "p-00-v1", "p-01-v0", "p-01-v1")
    assert pool.length("p-01-v0") == 1 and not pool.poses("p-01-v0").array().any()
    assert pool.caption("p-01-v0", 0) == "a garden with an old stone bear 1"
    assert pool.object_of("p-01-v0") == "stone bear 1"
    assert pool.object_of(scene_names(SCENES)[0]) is None
    assert pool.frames("p-01-v0", [0]).shape == (1, 16, 32, 3)
    settings = return_.settings(pool, {"cases": 0, "turns_deg": [-45.0, 45.0]}, F)
    assert settings[0].id == "context-as-memory/p-00-v0/0"


def test_without_an_open_domain_the_branch_return_says_what_it_needs(paths: dict[str, Path], tmp_path: Path) -> None:
    out, _ = stage(tmp_path / "data", "data", {"data": DATA}, {}, {"pool": paths["pool"]})
    pool = Pool.open(out)
    assert pool.scenes("open") == ()
    with pytest.raises(BadInput, match=r"the branch return .*paths: \{open: FOLDER\}.*--branches replay,loop"):
        return_.settings(pool, {"cases": 0, "turns_deg": [-45.0, 45.0]}, F)


BAD_OPEN: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no prompts": (lambda r: (r / "prompts.tsv").unlink(), r"prompts\.tsv: missing"),
    "no object": (
        lambda r: (r / "prompts.tsv").write_text("p-00\t\ta bear\n", encoding="utf-8"),
        r"prompts\.tsv:1: object is empty; a line is",
    ),
    "no tabs": (
        lambda r: (r / "prompts.tsv").write_text("p-00 bear\n", encoding="utf-8"),
        r"prompts\.tsv:1: prompt id is 'p-00 bear'",
    ),
    "twice": (
        lambda r: (r / "prompts.tsv").write_text("p-00\ta\tb\np-00\ta\tc\n", encoding="utf-8"),
        r"prompts\.tsv:2: prompt id 'p-00' is there already",
    ),
    "too few prompts": (
        lambda r: (r / "prompts.tsv").write_text("p-00\ta\tb\n", encoding="utf-8"),
        r"prompts\.tsv: 1 prompts, controls\.data\.open_prompts is 2",
    ),
    "no pictures": (lambda r: shutil.rmtree(r / "images" / "p-01"), r"images/p-01: missing"),
    "too few pictures": (
        lambda r: [path.unlink() for path in sorted((r / "images" / "p-01").iterdir())[1:]],
        r"images/p-01: 1 pictures, controls\.data\.open_variants is 2",
    ),
    "a dash in a variant": (
        lambda r: (r / "images/p-00/v0.png").rename(r / "images/p-00/v-0.png"),
        r"v-0\.png: the variant is 'v-0'",
    ),
    "no picture at all": (
        lambda r: (r / "images/p-00/v0.png").write_bytes(b"none"),
        r"v0\.png: not a whole PNG",
    ),
}


@pytest.mark.parametrize("fault", BAD_OPEN)
def test_a_bad_open_domain_is_refused_with_file_and_field(fault: str, paths: dict[str, Path], tmp_path: Path) -> None:
    spoil, message = BAD_OPEN[fault]
    root = Path(shutil.copytree(paths["open"], tmp_path / "open"))
    spoil(root)
    small = write_pool(tmp_path / "pool", 2, 2)
    with pytest.raises(BadInput) as refusal:
        stage(tmp_path / "data", "data", {"data": DATA}, {}, {"pool": small, "open": root})
    assert re.search(message, str(refusal.value)), str(refusal.value)


def test_evidence_is_every_frame_by_itself_and_targets_are_clips(
    made: dict[str, Any], pool_folder: Path, paths: dict[str, Path]
) -> None:
    latents, pool = Latents.open(made["latents"]), Pool.open(pool_folder)
    codec = make_codec(made["codec"], {"wan_vae": str(paths["wan_vae"])})
    assert latents.shape["frames"] == (F - 1) // codec.time_factor + 1
    near = {"rtol": 2e-3, "atol": 2e-3} if codec.time_factor > 1 else {"rtol": 0.0, "atol": 0.0}
    for scene in (*pool.scenes("train")[:2], pool.scenes("held_out")[0], "p-01-v1"):
        frames = pool.frames(scene, range(pool.length(scene)))
        found = latents.evidence(scene, range(pool.length(scene)))
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, codec.encode_each(frames), **near)
        assert np.array_equal(latents.poses(scene).array(), pool.poses(scene).array())
    for scene in pool.scenes("train")[:2]:
        frames = pool.frames(scene, range(FRAMES))
        for start in range(0, FRAMES - F + 1, codec.time_factor):
            target = latents.target(scene, start)
            np.testing.assert_allclose(target, codec.encode(frames[start : start + F]), **near)
            np.testing.assert_allclose(target[0], latents.evidence(scene, [start])[0], **near)
    with pytest.raises(IndexError):
        latents.target(pool.scenes("train")[0], FRAMES - F + codec.time_factor)
    if codec.time_factor > 1:
        assert latents.latents(scene).dtype == np.float16
        with pytest.raises(IndexError, match="multiples of 4"):
            latents.target(scene, 2)


def test_text_is_stored_once_a_caption_and_padded_with_zeros(
    made: dict[str, Any], pool_folder: Path, paths: dict[str, Path]
) -> None:
    latents, pool = Latents.open(made["latents"]), Pool.open(pool_folder)
    encoder = make_text_encoder(made["codec"], {"umt5": str(paths["umt5"])})
    scene = pool.scenes("train")[1]
    for frame in (0, 8):
        expected = encoder.encode(pool.caption(scene, frame))
        np.testing.assert_allclose(latents.text(scene, frame), expected, atol=2e-3)
        assert np.array_equal(latents.text(scene, frame) == 0, expected == 0)
    assert not np.array_equal(latents.text(scene, 0), latents.text(scene, 8))


def test_a_batch_holds_target_latents_poses_of_their_frames_and_evidence_chosen_on_frames(
    made: dict[str, Any], pool_folder: Path
) -> None:
    latents, index, pool = Latents.open(made["latents"]), Index.open(made["index"]), Pool.open(pool_folder)
    batches = Batches(
        latents, index, chunk_frames=F, evidence_frames=4, rule="spread", carries_state=True, shift=3.0, seed=0
    )
    batch, factor, retrieved = batches.batch(0, range(4)), latents.time_factor, 0
    assert batch.target.shape[1] == (F - 1) // factor + 1
    for row in range(4):
        sample = index.sample(0, row)
        assert sample.start % factor == 0
        yaw = pool.poses(sample.scene).yaw_deg
        for i in range(batch.target.shape[1]):
            turn = np.deg2rad(yaw[sample.start + i * factor] - yaw[sample.start])
            assert float(batch.actions[row, i, 0]) == pytest.approx(np.cos(turn), abs=1e-6)
        valid = int(batch.slots.valid[row].sum())
        retrieved += valid - 1
        allowed = candidates(pool.poses(sample.scene), sample.start, sample.start + F - 1, 0.3).indices
        assert valid - 1 == min(3, len(allowed))
        expected = latents.evidence(sample.scene, [sample.start])[0]
        assert np.array_equal(batch.slots.latents[row, 0].numpy(), expected)
    assert retrieved > 0


def test_a_step_is_trained_a_sample_video_made_and_every_branch_evaluated(
    made: dict[str, Any], paths: dict[str, Path], pool_folder: Path, tmp_path: Path
) -> None:
    config = {
        "data": DATA, "evidence": {**EVIDENCE, "frames": 4}, "action": {"site": "pre_qkv"}, "backbone": BACKBONE,
        "training": TRAINING,
    }  # fmt: skip
    row = resolved(row_from({"family": "context", "frames": 4}))
    inputs = {"latents": made["latents"], "index": made["index"]}
    out, outcome = stage(tmp_path / "train", "train", config, inputs, paths, row=row)
    assert outcome.steps == 1
    assert (out / "weights.safetensors").is_file() and (out / "samples" / "step-1.mp4").is_file()

    inputs = {"train": out, "data": pool_folder, "latents": made["latents"]}
    sampler = {"steps": 2, "guidance": 2.0, "negative": "blurry"}
    for branch, section in BRANCHES.items():
        config = {"evidence": {**EVIDENCE, "frames": 4}, "sampler": sampler, "branch": section}
        folder, outcome = stage(tmp_path / branch, "evaluate", config, inputs, paths, row=row, branch=branch)
        assert outcome.steps == 2
        videos = [decoded(path) for path in sorted((folder / "frames").iterdir())]
        assert [video.shape for video in videos] == [(2 * (F - 1) + 1, 16, 32, 3)] * 2
        measured = {json.loads(line)["metric"] for line in (folder / "cases.jsonl").read_text().splitlines()}
        # Nobody knows the truth of a real place that the camera did not film.
        assert "psnr_truth_last" not in measured
        assert {"replay": "psnr", "loop": "psnr", "return": "psnr_first"}[branch] in measured


@pytest.mark.parametrize("kind", CODECS)
def test_stage_latents_goes_on_where_it_was_stopped(kind: str, paths: dict[str, Path], tmp_path: Path) -> None:
    small = {**paths, "pool": write_pool(tmp_path / "pool", 6, FRAMES)}
    inputs = {"data": stage(tmp_path / "data", "data", {"data": DATA}, {}, small)[0]}
    config = {"data": DATA, "codec": CODECS[kind]}
    whole, outcome = stage(tmp_path / "a0", "latents", config, inputs, paths)
    _, first = stage(tmp_path / "a1", "latents", config, inputs, paths, stop_at=3)
    assert first.stopped and first.steps == 3
    checkpoint = tmp_path / "a1" / "work" / "checkpoints" / "step-3"
    listed = json.loads((checkpoint / "manifest.json").read_text(encoding="utf-8"))["files"]
    assert all((checkpoint / line["path"]).stat().st_size == line["size"] for line in listed)
    out, second = stage(tmp_path / "a2", "latents", config, inputs, paths, resume=str(checkpoint))
    assert not second.stopped and second.records == outcome.records
    names = sorted(path.relative_to(out) for path in out.rglob("*") if path.is_file())
    assert names == sorted(path.relative_to(whole) for path in whole.rglob("*") if path.is_file())
    for name in names:
        assert (out / name).read_bytes() == (whole / name).read_bytes(), name
    with pytest.raises(BadInput, match=r"cannot be resumed from: it is of job 333333333333"):
        stage(tmp_path / "a3", "latents", config, inputs, paths, resume=str(checkpoint), fingerprint="4" * 64)


def test_a_pool_in_the_published_layout_passes_the_check(
    paths: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert check.main([str(paths["pool"])]) == 0
    assert "100 scenes, 900 frames (300 read), 594 labels" in capsys.readouterr().out
    assert check.main([str(paths["pool"]), "--pixels", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["read"], told["problems"]) == (900, [])
    assert check.main([str(paths["open"])]) == 0


def test_the_check_prints_all_that_is_wrong_not_only_the_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_pool(tmp_path / "pool", 4, 6)
    a, b, c, d = scene_names(4)
    (root / "frames" / a / "0002.png").unlink()
    (root / "frames" / a / "0003.png").rename(root / "frames" / a / "3.png")
    (root / "frames" / b / "0000.png").write_bytes(b"")
    path = root / "jsons" / f"{c}.json"
    raw = json.loads(path.read_text(encoding="utf-8"))
    raw["CineCameraActor"]["1"]["rotation"] = [0, float("nan"), 0]
    raw["CineCameraActor"]["2"]["position"] = [0, 0]
    del raw["CineCameraActor"]["3"]
    path.write_text(json.dumps(raw), encoding="utf-8")
    label = root / "overlap_labels" / c / "0.json"
    label.write_text(json.dumps({"frame_index": 0, "overlapping_frames": []}), encoding="utf-8")
    (root / "overlap_labels" / c / "77.json").write_text("{}", encoding="utf-8")
    lines = (root / "captions.txt").read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if not line.startswith(d)]
    (root / "captions.txt").write_text(
        "\n".join([*kept, "no tab", "gone/0_4.mp4\tx", f"{a}/5_2.mp4\tx"]), encoding="utf-8"
    )
    Image.new("RGB", (8, 8)).save(root / "frames" / d / "0005.png")
    assert check.main([str(root), "--json"]) == 1
    found = {p["kind"]: p["messages"] for p in json.loads(capsys.readouterr().out)["problems"]}
    expected = {
        "missing frames": [r"0002\.png: missing frame", r"0003\.png: missing frame"],
        "frame names": [r"3\.png: not the name of a frame"],
        "pixels": [r"0000\.png: not a whole PNG"],
        "poses": [r"1\.rotation .*finite", r"2\.position .*three numbers", r"CineCameraActor\.3 is missing"],
        "labels": [r"/0\.json: frame_index is 0", r"77\.json: of no frame"],
        "captions": [
            r":\d+: 'no tab'",
            "gone/0_4.mp4 is of a scene without",
            "ends before it starts",
            f"no line .*{d}",
        ],
        "frame sizes": ["frames of 8x8, 30x64 pixels"],
    }
    assert {kind: len(messages) for kind, messages in found.items()} == {k: len(v) for k, v in expected.items()}
    for kind, patterns in expected.items():
        for pattern in patterns:
            assert any(re.search(pattern, message) for message in found[kind]), (kind, pattern)
    assert check.main([str(root)]) == 1
    told = capsys.readouterr().out
    assert "poses: 3\n" in told and told.endswith("14 problems\n")


def test_the_check_is_a_command_with_help_and_refuses_bad_usage(tmp_path: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "workloads.data.check", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    told = run("--help")
    assert told.returncode == 0 and "example: python -m workloads.data.check" in told.stdout
    assert run(str(tmp_path / "none")).returncode == 2
    assert run(str(tmp_path), "--frames", "-1").returncode == 2
    empty = run(str(tmp_path))
    assert empty.returncode == 1 and "no scenes" in empty.stdout
