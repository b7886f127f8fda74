"""DeepSpeed's own checkpoints: read whole, exactly, and without running what is in them."""

import json
import os
import runpy
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from by_two import run_by_two
from mixed import deepspeed_engine, engine_at, live, saved, step, written
from safetensors.torch import load_file
from tiny_training import ALONE
from torch import Tensor

from workloads.contract.request import Rendezvous
from workloads.runtime.errors import BadInput
from workloads.training.deepspeed_checkpoints import SafeCheckpoints, main, read_checkpoint, read_pickled

SHARD = "zero_pp_rank_0_mp_rank_00_optim_states.pt"
MODEL = "mp_rank_00_model_states.pt"


class Maker:
    """Makes a folder when it is unpickled by one who runs what a pickle says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.folder),)


class Foreign:
    """A class that is not allowed."""


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[int, dict[str, Tensor]]]:
    """Checkpoints `stage-{s}` of one rank, read-only, and the weights they were made of."""
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("deepspeed")
    return root, {stage: saved(root / f"stage-{stage}", stage, ALONE) for stage in (0, 1, 2, 3)}


Checkpoints = tuple[Path, dict[int, dict[str, Tensor]]]


def copied(checkpoints: Checkpoints, stage: int, to: Path) -> Path:
    """The checkpoint's own folder, copied."""
    return Path(shutil.copytree(checkpoints[0] / f"stage-{stage}" / "step-2", to / "copy"))


def the_same(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_what_deepspeed_saves_is_read_to_the_bit(checkpoints: Checkpoints, tmp_path: Path, stage: int) -> None:
    root, expected = checkpoints
    assert main([str(root / f"stage-{stage}"), str(tmp_path / "model.safetensors")]) == 0
    found = load_file(tmp_path / "model.safetensors")
    assert the_same(found, expected[stage])
    assert {value.dtype for value in found.values()} == {torch.float32}
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


def test_the_shards_of_two_ranks_are_put_together_to_the_bit(tmp_path: Path) -> None:
    def arguments(meeting: Rendezvous) -> list[str]:
        path = tmp_path / f"meeting-{meeting.rank}.json"
        path.write_text(json.dumps(written(meeting)), encoding="utf-8")
        return [str(tmp_path), str(path)]

    run_by_two(Path(__file__).with_name("saves_checkpoints.py"), arguments)
    for stage in (1, 2, 3):
        assert len(list((tmp_path / f"stage-{stage}" / "step-2").glob("*_optim_states.pt"))) == 2
        assert the_same(read_checkpoint(tmp_path / f"stage-{stage}"), load_file(tmp_path / f"live-{stage}.safetensors"))
    (tmp_path / "stage-2" / "step-2" / SHARD.replace("rank_0_", "rank_1_")).unlink()
    with pytest.raises(BadInput, match=r"2 ranks and holds the shards of 1; zero_pp_rank_1_\S+ is missing"):
        read_checkpoint(tmp_path / "stage-2")


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_an_engine_here_loads_deepspeeds_checkpoint_and_goes_on_from_it(
    checkpoints: Checkpoints, tmp_path: Path, stage: int
) -> None:
    root, expected = checkpoints
    straight, resumed = engine_at(stage, ALONE), engine_at(stage, ALONE)
    assert isinstance(deepspeed_engine(resumed).checkpoint_engine, SafeCheckpoints)
    deepspeed_engine(resumed).load_checkpoint(str(root / f"stage-{stage}"), tag="step-2")
    assert the_same(live(resumed), expected[stage])
    for _ in range(3):
        step(straight)
    step(resumed)
    assert the_same(live(resumed), live(straight))


def refusal(folder: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """What the command says when it refuses; it writes nothing."""
    before = sorted(out.parent.iterdir())
    assert main([str(folder), str(out)]) == 2
    assert sorted(out.parent.iterdir()) == before
    return capsys.readouterr().err


@pytest.mark.parametrize(("stage", "name"), [(0, MODEL), (1, MODEL), (1, SHARD)])
def test_an_object_that_would_run_code_is_named_and_does_not_run(
    checkpoints: Checkpoints, tmp_path: Path, capsys: pytest.CaptureFixture[str], stage: int, name: str
) -> None:
    folder = copied(checkpoints, stage, tmp_path)
    state = read_pickled(folder / name)
    torch.save({**state, "extra": Maker(tmp_path / "made")}, folder / name)
    said = refusal(folder, tmp_path / "out.safetensors", capsys)
    assert f"{folder / name}: holds an object of {os.name}.mkdir, whose code" in said
    assert "was not run; allowed: tensors, plain containers, LossScaler, ZeroStageEnum" in said
    assert not (tmp_path / "made").exists()
    torch.load(folder / name, weights_only=False)  # the trap is a real one
    assert (tmp_path / "made").exists()


def test_an_engine_here_refuses_it_too(checkpoints: Checkpoints, tmp_path: Path) -> None:
    folder = copied(checkpoints, 0, tmp_path)
    torch.save({**read_pickled(folder / MODEL), "extra": Foreign()}, folder / MODEL)
    with pytest.raises(BadInput, match=r"holds an object of test_deepspeed_checkpoints\.Foreign, whose code"):
        deepspeed_engine(engine_at(0, ALONE)).load_checkpoint(str(tmp_path), tag="copy")


def test_a_folder_that_is_not_there_or_holds_no_checkpoint_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.safetensors"
    assert f"{tmp_path / 'none'}: no such folder" in refusal(tmp_path / "none", out, capsys)
    assert f"{tmp_path}: holds no *_model_states.pt" in refusal(tmp_path, out, capsys)
    (tmp_path / "latest").write_text("../elsewhere", encoding="utf-8")
    assert "latest: names '../elsewhere'; allowed: a folder beside it" in refusal(tmp_path, out, capsys)


@pytest.mark.parametrize("name", [MODEL, SHARD])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_file_that_is_cut_off_is_refused_by_path(
    checkpoints: Checkpoints, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, share: float
) -> None:
    folder = copied(checkpoints, 2, tmp_path)
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: int(share * len(content))])
    said = refusal(folder, tmp_path / "out.safetensors", capsys)
    assert f"{folder / name}: not readable as a file of torch.save" in said and "cut off or damaged" in said


def test_a_checkpoint_without_its_shards_is_refused_although_weights_are_there(
    checkpoints: Checkpoints, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = copied(checkpoints, 1, tmp_path)
    (folder / SHARD).unlink()
    assert f"{SHARD} is missing" in refusal(folder, tmp_path / "out.safetensors", capsys)


@pytest.mark.parametrize("stage", [0, 2])
def test_a_weight_that_is_not_a_number_is_refused_by_name(
    checkpoints: Checkpoints, tmp_path: Path, capsys: pytest.CaptureFixture[str], stage: int
) -> None:
    folder = copied(checkpoints, stage, tmp_path)
    path = folder / (SHARD if stage else MODEL)
    state = torch.load(path, weights_only=False)
    held = state["optimizer_state_dict"]["single_partition_of_fp32_groups"][0] if stage else state["module"]["gate"]
    held.detach().fill_(float("nan"))
    torch.save(state, path)
    said = refusal(folder, tmp_path / "out.safetensors", capsys)
    assert str(folder) in said and f"the tensor {'first.weight' if stage else 'gate'} holds" in said and "NaN" in said


def test_another_layout_is_refused_by_what_is_missing(
    checkpoints: Checkpoints, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = copied(checkpoints, 0, tmp_path)
    torch.save({"weights": torch.ones(3)}, folder / MODEL)
    said = refusal(folder, tmp_path / "out.safetensors", capsys)
    assert f"{folder}: not laid out as DeepSpeed's checkpoints are: KeyError('module')" in said


def test_nothing_is_written_over(checkpoints: Checkpoints, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.safetensors"
    out.write_bytes(b"mine")
    said = refusal(checkpoints[0] / "stage-0", out, capsys)
    assert f"{out}: exists, and nothing is written over" in said and out.read_bytes() == b"mine"


def test_help_shows_an_example_and_the_exit_codes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["deepspeed_checkpoints", "--help"])
    with pytest.raises(SystemExit) as ended, pytest.warns(RuntimeWarning, match="found in sys.modules"):
        runpy.run_module("workloads.training.deepspeed_checkpoints", run_name="__main__")
    shown = capsys.readouterr().out
    assert ended.value.code == 0
    assert "example: python -m workloads.training.deepspeed_checkpoints" in shown and "2 refused" in shown
