"""A checkpoint goes on with other ranks or another ZeRO stage by an explicit command, through values by parameter."""

import json
import math
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from by_two import run_by_two
from mixed import written
from test_ranks import train_by_two
from tiny_training import metrics, train_once, train_request, weights, zero

from workloads.contract.request import Rendezvous, Request
from workloads.runtime.errors import BadInput
from workloads.training.checkpoint import Checkpoint
from workloads.training.reshard import main
from workloads.training.universal import Universal, piece_size

ROOT = Path(__file__).parents[2]
TRAINING = {"sample_every": 0, "steps": 6}
Pool = dict[str, str]


def checkpoint(request: Request, step: int = 4) -> Path:
    return Path(request.work) / "checkpoints" / f"step-{step}"


def resharded(source: Path, ranks: int, stage: int, out: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """Convert by the command; the folder that it says it wrote."""
    capsys.readouterr()
    assert main([str(source), "--ranks", str(ranks), "--zero-stage", str(stage), "--out", str(out)]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["ranks"], said["zero_stage"], said["step"]) == (ranks, stage, int(source.name.removeprefix("step-")))
    assert said["source"]["checkpoint"] == str(source) and said["checkpoint"] == str(out / source.name)
    return Path(said["checkpoint"])


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def requests(folder: Path, pool: Pool, stages: Sequence[int], **changes: Any) -> list[Request]:
    return [
        train_request(
            folder, pool, "ssm-blockwise", training=TRAINING, how={"deepspeed": zero(stage) if stage else {}},
            **{key: value[stage] for key, value in changes.items()},
        )
        for stage in stages
    ]  # fmt: skip


def assert_close(ended: Request, whole: Request) -> None:
    """As the undisturbed training to 1e-5, each step once."""
    found, expected = metrics(ended, "loss"), metrics(whole, "loss")
    assert [step for step, _ in found] == list(range(1, TRAINING["steps"] + 1))
    for (step, a), (_, b) in zip(found, expected, strict=True):
        assert math.isclose(a, b, rel_tol=0, abs_tol=1e-5), step
    a, b = weights(ended), weights(whole)
    assert a.keys() == b.keys()
    for name in b:
        assert torch.allclose(a[name], b[name], rtol=0, atol=1e-5), name


def refusal(arguments: Sequence[str], capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert main(list(arguments)) == 2
    said = capsys.readouterr()
    assert said.out == ""
    return said.err


@pytest.fixture(scope="module")
def by_one(pool: Pool, tmp_path_factory: pytest.TempPathFactory) -> dict[int, tuple[Request, Request]]:
    """By one rank, for stages 0 to 2: the whole training, and one that was stopped after step 4."""
    folder = tmp_path_factory.mktemp("one")
    found = {}
    for stage in (0, 1, 2):
        [whole], [first] = requests(folder, pool, [stage]), requests(folder, pool, [stage])
        train_once(whole)
        train_once(first, stop_at=3)
        found[stage] = (whole, first)
    return found


@pytest.fixture(scope="module")
def by_two(pool: Pool, tmp_path_factory: pytest.TempPathFactory) -> dict[int, tuple[Request, Request]]:
    """The same by two ranks, for stages 1 and 2."""
    folder = tmp_path_factory.mktemp("two")
    whole, first = requests(folder, pool, (1, 2)), requests(folder, pool, (1, 2))
    done = train_by_two([*whole, *first], stops={request.attempt: 3 for request in first})
    return {1: (done[0], done[2]), 2: (done[1], done[3])}


@pytest.mark.parametrize(("before", "after"), [(0, 1), (0, 2), (1, 0), (2, 0), (1, 2), (2, 1)])
def test_another_stage_goes_on_as_if_it_had_been_that_of_the_whole_training(
    by_one: dict[int, tuple[Request, Request]], pool: Pool, tmp_path: Path, before: int, after: int,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    whole, first = by_one[before]
    converted = resharded(checkpoint(first), 1, after, tmp_path / "a9" / "checkpoints", capsys)
    [last] = requests(tmp_path, pool, [after], resume={after: str(converted)})
    train_once(last)
    assert_close(last, whole)


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_there_and_back_again_is_the_same_to_the_bit(
    by_one: dict[int, tuple[Request, Request]], tmp_path: Path, stage: int, capsys: pytest.CaptureFixture[str]
) -> None:
    source = checkpoint(by_one[stage][1])
    assert contents(resharded(source, 1, stage, tmp_path / "same", capsys)) == contents(source)
    for number, (ranks, other) in enumerate([(2, 1), (4, 2), (1, 0)]):
        there = resharded(source, ranks, other, tmp_path / f"there-{number}", capsys)
        back = resharded(there, 1, stage, tmp_path / f"back-{number}", capsys)
        assert contents(back) == contents(source)


@pytest.mark.parametrize("stage", [1, 2])
def test_two_ranks_become_one_and_the_training_agrees(
    by_two: dict[int, tuple[Request, Request]], pool: Pool, tmp_path: Path, stage: int,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    whole, first = by_two[stage]
    source = checkpoint(first)
    assert contents(resharded(source, 2, stage, tmp_path / "same", capsys)) == contents(source)
    converted = resharded(source, 1, stage, tmp_path / "a9" / "checkpoints", capsys)
    assert contents(resharded(converted, 2, stage, tmp_path / "back", capsys)) == contents(source)
    [last] = requests(tmp_path, pool, [stage], resume={stage: str(converted)})
    train_once(last)
    assert_close(last, whole)


def test_one_rank_becomes_two_and_the_training_agrees(
    by_one: dict[int, tuple[Request, Request]], pool: Pool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    converted = {
        stage: str(resharded(checkpoint(by_one[stage][1]), 2, stage, tmp_path / f"b{stage}", capsys))
        for stage in (1, 2)
    }
    last = requests(tmp_path, pool, (1, 2), resume=converted)
    train_by_two(last)
    for stage, ended in zip((1, 2), last, strict=True):
        assert_close(ended, by_one[stage][0])


@pytest.mark.parametrize("stages", [(2,), pytest.param((1, 2), marks=pytest.mark.long)])
def test_values_by_parameter_are_those_of_deepspeeds_own_universal_checkpoint(
    tmp_path: Path, stages: tuple[int, ...]
) -> None:
    def arguments(meeting: Rendezvous) -> list[str]:
        path = tmp_path / f"meeting-{meeting.rank}.json"
        path.write_text(json.dumps(written(meeting)), encoding="utf-8")
        return [str(tmp_path), str(path)]

    run_by_two(Path(__file__).with_name("saves_both.py"), arguments)
    for stage in stages:
        folders = {
            "--input_folder": tmp_path / f"deepspeed-{stage}" / "step-2",
            "--output_folder": tmp_path / f"u{stage}",
        }
        command = [sys.executable, "-m", "deepspeed.checkpoint.ds_to_universal", "--inject_missing_state"]
        for name, value in {**folders, "--num_extract_workers": 1, "--num_merge_workers": 1}.items():
            command += [name, str(value)]
        subprocess.run(command, check=True, capture_output=True, timeout=240)
        ours = Universal(Checkpoint.open(tmp_path / f"ours-{stage}" / "step-2"))
        assert len(ours.places) == 6
        for name in ours.places:
            for key in ("fp32", "exp_avg", "exp_avg_sq", "step"):
                theirs = torch.load(tmp_path / f"u{stage}" / "zero" / name / f"{key}.pt", weights_only=True)
                expected = theirs["param"] if isinstance(theirs, dict) else theirs
                found = ours.value(name, key)
                assert torch.equal(found, torch.as_tensor(expected).reshape(found.shape)), (stage, name, key)


def test_a_checkpoint_before_the_first_update_has_no_moments_to_cut(
    pool: Pool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    training = {"shift": math.inf, "sample_every": 0, "rejected_share": 1.0}
    first = train_request(tmp_path, pool, training=training, how={"deepspeed": zero(1)})
    train_once(first, stop_at=0)
    converted = resharded(checkpoint(first, 1), 2, 2, tmp_path / "out", capsys)
    assert not list(converted.glob("optimizer-*"))


def test_pieces_are_equal_and_cover_the_group() -> None:
    for elements in range(1, 40):
        for ranks in (1, 2, 3, 4, 8):
            each = piece_size(elements, ranks)
            assert each * ranks >= elements > (each - 2) * ranks - 2 * ranks and each % 2 == 0


def test_what_cannot_be_converted_is_refused_with_what_to_do(
    by_one: dict[int, tuple[Request, Request]], pool: Pool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = checkpoint(by_one[1][1])
    to = ["--zero-stage", "1", "--out", str(tmp_path / "out")]
    assert "--ranks is 3, but controls.training.global_batch is 4; allowed: a number that divides 4" in refusal(
        [str(source), "--ranks", "3", *to], capsys
    )
    assert not (tmp_path / "out").exists()
    with pytest.raises(SystemExit) as ended:
        main([str(source), "--ranks", "0", *to])
    assert ended.value.code == 2 and "--ranks is 0; allowed: 1 and more" in capsys.readouterr().err
    assert main([str(source), "--ranks", "2", *to]) == 0
    assert "step-4: exists, and nothing is written over; allowed: a new folder" in refusal(
        [str(source), "--ranks", "2", *to], capsys
    )
    (tmp_path / "file").write_text("")
    beneath = [str(source), "--ranks", "2", "--zero-stage", "1", "--out", str(tmp_path / "file")]
    assert f"{tmp_path / 'file'}: cannot be written: Not a directory; allowed: a folder" in refusal(beneath, capsys)
    [whole] = train_request_at_stage_3(tmp_path, pool)
    said = refusal(
        [str(checkpoint(whole, 1)), "--ranks", "2", "--zero-stage", "1", "--out", str(tmp_path / "b")], capsys
    )
    assert "written at ZeRO stage 3 without the order of its parameters; allowed: a checkpoint of stages 0 to 2" in said
    assert not (tmp_path / "b" / "step-1").exists()


def train_request_at_stage_3(folder: Path, pool: Pool) -> list[Request]:
    [first] = requests(folder, pool, [3])
    train_once(first, stop_at=0)
    return [first]


def test_a_damaged_checkpoint_is_refused_and_another_one_is_named(
    pool: Pool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = train_request(
        tmp_path, pool, training=TRAINING, how={"deepspeed": zero(1), "checkpoint_every_s": 0.0}
    )  # fmt: skip
    train_once(first, stop_at=3)
    file = checkpoint(first, 4) / "optimizer-rank0.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(bytes(content))
    arguments = [str(checkpoint(first, 4)), "--ranks", "2", "--zero-stage", "1", "--out", str(tmp_path / "out")]
    said = refusal(arguments, capsys)
    assert "optimizer-rank0.safetensors is not what manifest.json lists" in said
    assert f"allowed: a complete checkpoint; give another one: {checkpoint(first, 3)}" in said
    assert not (tmp_path / "out").exists()


def test_resuming_with_another_stage_names_the_command_and_the_command_mends_it(
    by_one: dict[int, tuple[Request, Request]], pool: Pool, tmp_path: Path
) -> None:
    source = checkpoint(by_one[1][1])
    [other] = requests(tmp_path, pool, [2], resume={2: str(source)})
    with pytest.raises(BadInput) as refused:
        train_once(other)
    command = str(refused.value).partition("by hand `")[2].partition("`")[0].replace("FOLDER", str(tmp_path / "out"))
    assert command.startswith("python -m workloads.training.reshard ")
    ran = subprocess.run(
        [sys.executable, *command.split()[1:]], cwd=ROOT, capture_output=True, text=True, check=True, timeout=240
    )
    [again] = requests(tmp_path, pool, [2], resume={2: json.loads(ran.stdout)["checkpoint"]})
    train_once(again)
    assert_close(again, by_one[1][0])


def test_help_shows_an_example_and_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    shown = capsys.readouterr().out
    assert ended.value.code == 0
    assert "example: python -m workloads.training.reshard" in shown and "2 refused" in shown
