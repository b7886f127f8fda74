"""Two ranks that share no folder save one whole checkpoint, and resume from copies of it to the same bits."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

from by_two import run_by_two
from safetensors.torch import load_file
from test_ranks import RANK_SCRIPT
from tiny_training import metrics, train_request, weights, zero

from workloads.contract.request import Rendezvous, Request

HOW = {"keep": "full", "deepspeed": zero(2)}


def train_apart(*requests: tuple[Request, int | None]) -> list[Request]:
    """Train as two ranks with folders of their own, each until its step or to the end; the requests of rank 0."""
    led: list[Request] = []

    def arguments(meeting: Rendezvous) -> list[str]:
        given = []
        for request, stop in requests:
            one = replace(request, rendezvous=meeting, execution=replace(request.execution, ranks=2))
            if meeting.rank == 0:
                led.append(one)
            else:
                resume = one.resume and elsewhere(one.resume)
                one = replace(one, work=elsewhere(one.work), out=elsewhere(one.out), resume=resume)
            path = Path(one.work) / "request.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            Path(one.out).mkdir(exist_ok=True)
            one.write(path)
            given.append(f"{path}" if stop is None else f"{path}:{stop}")
        return given

    run_by_two(RANK_SCRIPT, arguments)
    return led


def elsewhere(path: str) -> str:
    """A path of rank 0's machine on that of rank 1."""
    return path.replace("/here/", "/there/another/way/")


def test_ranks_that_share_no_folder_resume_to_the_bits_of_ranks_that_were_not_stopped(
    pool: dict[str, str], tmp_path: Path
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    whole, first = (train_request(here, pool, training={"steps": 6}, how=HOW) for _ in range(2))
    train_apart((whole, None), (first, 3))
    (saved,) = (Path(first.work) / "checkpoints").glob("step-*")
    listed = {one["path"] for one in json.loads((saved / "manifest.json").read_bytes())["files"]}
    assert {"optimizer-rank0.safetensors", "optimizer-rank1.safetensors"} < listed
    assert not list(Path(elsewhere(first.work)).rglob("*.safetensors")), "nothing is left of what was sent"

    shutil.copytree(saved, elsewhere(str(saved)))
    resumed = train_request(here, pool, training={"steps": 6}, how=HOW, resume=str(saved))
    (ended,) = train_apart((resumed, None))
    assert metrics(ended, "loss") == metrics(whole, "loss")
    assert all(bool((weights(ended)[name] == tensor).all()) for name, tensor in weights(whole).items())
    for rank in range(2):
        ours, theirs = (load_file(Path(one.out) / f"optimizer-rank{rank}.safetensors") for one in (ended, whole))
        assert ours.keys() == theirs.keys() and all(bool((ours[name] == theirs[name]).all()) for name in ours)
