"""Killed anywhere, again and again, a job ends with what the undisturbed one publishes, to the bit.

Jobs run on a real host (`Node`: warm server, forked ranks, store), each attempt going on from the newest checkpoint as
the driver would have it. They are killed at named points of the code and at random moments, drawn from a seed.
"""

import hashlib
import json
import os
import random
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import exact_paths  # noqa: F401  acts by being imported first
import made_pool
import pytest
import tiny_training
from toy_jobs import ROOT, wait_until

from orchestrator.host.checkpoints import newest_checkpoint
from orchestrator.host.node import Node
from orchestrator.host.processes import is_alive, read_processes
from orchestrator.host.publish import Provenance
from orchestrator.store.files import FilesStore
from orchestrator.store.protocol import Commit, Store
from workloads.contract.request import Request
from workloads.contract.result import Result
from workloads.runtime.fault_points import VARIABLE

STEPS = 8
TRAINING = {"steps": STEPS, "sample_every": 4}
MEASURED = ("samples_per_s", "tokens_per_s", "memory_mib")
"""Metrics that say how fast it went: two runs never agree on them."""
WITHIN_S = 240.0
ENOUGH = 60
"""Attempts after which a job should long have ended."""

Disturbance = Callable[["Attempt"], None]


class Attempt:
    """An attempt that runs."""

    def __init__(self, host: "Host", name: str, work: Path, number: int) -> None:
        self.host, self.name, self.work, self.number = host, name, work, number

    @property
    def report(self) -> Mapping[str, Any]:
        return self.host.node.poll()[self.name]

    @property
    def ended(self) -> bool:
        return self.report["phase"] == "ended"

    def signal(self, number: int, *ranks: int) -> bool:
        """Send a signal to ranks; False: it had ended."""
        found = read_processes(self.work)  # in the ranks' order
        for rank in ranks:
            if self.ended or rank >= len(found) or not is_alive(*found[rank]):
                return False
            try:
                os.kill(found[rank][0], number)
            except ProcessLookupError:  # it has ended since
                return False
        return True

    def wait_for_steps(self, steps: int) -> None:
        """Wait for as many checkpoints more than it began with, or its end."""
        folder, began = self.work / "checkpoints", self.host.step

        def reached() -> bool:
            found = [int(path.name.removeprefix("step-")) for path in folder.glob("step-*")]
            return self.ended or max(found, default=0) >= began + steps

        wait_until(reached, f"{self.name} takes {steps} steps", WITHIN_S)


class Host:
    """A node, and jobs that are tried until they end well."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.faults = home / "faults"
        self.faults.mkdir(parents=True)
        self.store: Store = FilesStore(home / "store")
        self.node = Node(
            store=self.store, code=ROOT, provenance=Provenance(code="c" * 64, git="", host_kind="test")
        )  # fmt: skip
        self.step = 0
        self.kills = 0
        """Attempts that did not end well."""

    def put(self, stage: str, folder: Path) -> str:
        """Commit a folder as the artifact of a stage; its fingerprint."""
        fingerprint = hashlib.sha256(str(folder).encode()).hexdigest()
        prepared = self.store.prepare(stage, fingerprint, "a0")
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                (prepared / path.relative_to(folder)).parent.mkdir(parents=True, exist_ok=True)
                (prepared / path.relative_to(folder)).write_bytes(path.read_bytes())
        commit = Commit(
            fingerprint=fingerprint, attempt="a0", stage=stage, branch=None, job=stage, label=stage, manifest="",
            inputs={}, code="", git="", versions={}, host_kind="", started=0.0, ended=0.0,
            result=asdict(Result(ending="ok", error=None, steps=0)),
        )  # fmt: skip
        assert self.store.commit(commit, prepared)
        return fingerprint

    def run(self, request: Request, inputs: Mapping[str, str], disturb: Disturbance | None = None) -> Path:
        """Try `request` until it ends well, each attempt from the newest checkpoint; what it published.

        Args:
            request: whose fingerprint names the job; folders are filled in.
            inputs: stage -> fingerprint.
            disturb: called once an attempt runs.
        """
        for number in range(ENOUGH):
            name = f"a{number:03d}-{request.fingerprint[:8]}"
            resume = newest_checkpoint(self.home, request.fingerprint)
            self.step = 0 if resume is None else resume.step
            work = self.home / "attempts" / request.fingerprint[:16] / name
            asked = replace(
                request, attempt=name, inputs={}, out="", work=str(work),
                resume=None if resume is None else str(resume.path),
                rendezvous=replace(request.rendezvous, world_size=request.execution.ranks),
            )  # fmt: skip
            submission = {
                "attempt": name, "job": request.job, "label": request.job, "request": asdict(asked),
                "inputs": dict(inputs), "placement": {"host": "here", "cpus": 1, "devices": ()},
                "resources": {"cpus": 1, "devices": 0, "memory_gib": 8.0, "minutes": 20.0},
            }  # fmt: skip
            self.node.start(submission)
            attempt = Attempt(self, name, work, number)
            ranks = request.execution.ranks
            wait_until(lambda: attempt.ended or len(read_processes(work)) == ranks, f"{name} starts", WITHIN_S)  # noqa: B023
            if disturb is not None:
                disturb(attempt)
            wait_until(lambda: attempt.ended, f"{name} ends", WITHIN_S)  # noqa: B023
            if attempt.report["ending"] == "ok":
                return self.store.fetch(request.fingerprint)
            assert attempt.report["ending"] in ("vanished", "interrupted", "error"), attempt.report
            assert "Traceback" not in self.log(work) or request.execution.ranks > 1, self.log(work)
            self.kills += 1
        raise AssertionError(f"{request.job} has not ended in {ENOUGH} attempts")

    @staticmethod
    def log(work: Path) -> str:
        return (work / "log.txt").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    made = Host(tmp_path_factory.mktemp("host"))
    os.environ[VARIABLE] = str(made.faults)
    yield made
    del os.environ[VARIABLE]
    made.node.close()


@pytest.fixture(scope="module")
def pool(host: Host, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Fingerprints of the inputs of a training."""
    made = tiny_training.make_pool(tmp_path_factory.mktemp("pool"))
    return {stage: host.put(stage, Path(folder)) for stage, folder in made.items()}


def training(label: str, *, ranks: int = 1, zero: int = 0, precision: str = "float32", every_s: float = 0.0) -> Request:
    """A training; `label` is all that tells the fingerprints of two equal computations apart."""
    how = {
        "deepspeed": tiny_training.zero(zero) if zero else {}, "keep": "full", "checkpoint_every_s": every_s,
        "ranks": ranks, "grace_s": 60.0,
    }  # fmt: skip
    with TemporaryDirectory() as folder:
        request = tiny_training.train_request(
            Path(folder), {}, "ssm-blockwise", training={**TRAINING, "precision": precision}, how=how
        )
    fingerprint = hashlib.sha256(f"{label} {ranks} {zero} {precision}".encode()).hexdigest()
    return replace(request, fingerprint=fingerprint, job=f"train/{fingerprint[:12]}")


def published(folder: Path) -> dict[str, Any]:
    """Everything that is published, but for measured speed and the time of day."""
    found: dict[str, Any] = {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in ("metrics.jsonl", "manifest.json")
    }
    if (folder / "metrics.jsonl").is_file():
        lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
        found["metrics"] = [
            (line["step"], line["name"], None if line["name"] in MEASURED else line["value"]) for line in lines
        ]
        assert len({(step, name) for step, name, _ in found["metrics"]}) == len(lines), "a step is doubled"
    return found


def assert_the_same(folder: Path, whole: Path) -> None:
    a, b = published(folder), published(whole)
    assert a.keys() == b.keys()
    assert [name for name in b if a[name] != b[name]] == []


POINTS = (
    "deepspeed.before", "deepspeed.after", "checkpoint.files", "checkpoint.manifest", "checkpoint.renamed",
    "checkpoint.removing", "result.written",
)  # fmt: skip


def at_points(host: Host, points: list[str]) -> Disturbance:
    """Let each attempt die at the next of `points`; arms them one at a time."""

    def arm(_: Attempt | None = None) -> None:
        if points and not list(host.faults.glob("*[!d]")):
            (host.faults / points.pop(0)).write_text("kill", encoding="ascii")

    arm()
    return lambda attempt: wait_until(lambda: attempt.ended, "it ends", WITHIN_S) and arm()


def at_random(seed: int, kills: int, ranks: int = 1) -> Disturbance:
    """Kill a random rank a random while after a random step, `kills` times."""
    draw = random.Random(seed)

    def disturb(attempt: Attempt) -> None:
        if attempt.number >= kills:
            return
        attempt.wait_for_steps(draw.choice((0, 1, 1, 2)))
        time.sleep(draw.uniform(0, 0.1))  # somewhere within a step, or before the first
        attempt.signal(signal.SIGKILL, draw.randrange(ranks))

    return disturb


@pytest.fixture(scope="module")
def whole(host: Host, pool: dict[str, str]) -> Callable[..., Path]:
    """What an undisturbed training publishes; each is made once."""
    made: dict[str, Path] = {}

    def of(**how: Any) -> Path:
        request = training("whole", **how)
        if request.fingerprint not in made:
            made[request.fingerprint] = folder = host.run(request, pool)
            assert {"weights.safetensors", "samples/step-4.mp4", "samples/step-8.mp4"} <= published(folder).keys()
            assert any(name.startswith("optimizer") for name in published(folder))
            steps = [step for step, name, _ in published(folder)["metrics"] if name == "loss"]
            assert steps == list(range(1, STEPS + 1))
        return made[request.fingerprint]

    return of


@pytest.mark.parametrize(("zero", "precision"), [(0, "float32"), (2, "bfloat16")])
def test_a_training_killed_at_every_named_point_ends_with_the_same_bits(
    host: Host, pool: dict[str, str], whole: Callable[..., Path], zero: int, precision: str
) -> None:
    how: dict[str, Any] = {"zero": zero, "precision": precision}
    before = host.kills
    ended = host.run(training("named", **how), pool, at_points(host, list(POINTS)))
    assert host.kills - before == len(POINTS)
    assert {path.name for path in host.faults.iterdir()} == {f"{point}.fired" for point in POINTS}
    for path in host.faults.iterdir():
        path.unlink()
    assert_the_same(ended, whole(**how))


@pytest.mark.parametrize(
    ("zero", "precision"),
    [
        (1, "bfloat16"),
        (2, "float32"),
        *(pytest.param(*how, marks=pytest.mark.long) for how in ((0, "float32"), (0, "bfloat16"), (1, "float32"))),
        pytest.param(2, "bfloat16", marks=pytest.mark.long),
    ],
)
def test_a_training_killed_at_random_again_and_again_ends_with_the_same_bits(
    host: Host, pool: dict[str, str], whole: Callable[..., Path], zero: int, precision: str
) -> None:
    how: dict[str, Any] = {"zero": zero, "precision": precision}
    before = host.kills
    ended = host.run(training("random", **how), pool, at_random(10 * zero, kills=4))
    assert host.kills - before >= 2
    assert_the_same(ended, whole(**how))


@pytest.mark.parametrize(
    ("zero", "precision"),
    [
        (2, "float32"),
        pytest.param(0, "float32", marks=pytest.mark.long),
        pytest.param(1, "bfloat16", marks=pytest.mark.long),
    ],
)
def test_two_ranks_of_which_one_is_killed_again_and_again_end_with_the_same_bits(
    host: Host, pool: dict[str, str], whole: Callable[..., Path], zero: int, precision: str
) -> None:
    how: dict[str, Any] = {"ranks": 2, "zero": zero, "precision": precision}
    before = host.kills
    ended = host.run(training("random", **how), pool, at_random(zero + 1, kills=3, ranks=2))
    assert host.kills - before >= 2
    assert_the_same(ended, whole(**how))


def test_a_bit_that_flips_in_each_newest_checkpoint_costs_steps_and_not_the_job(
    host: Host, pool: dict[str, str], whole: Callable[..., Path]
) -> None:
    request = training("flipped", zero=1)
    flipped: list[Path] = []

    def disturb(attempt: Attempt) -> None:
        if attempt.number >= 3:
            return
        attempt.wait_for_steps(2)
        if not attempt.signal(signal.SIGKILL, 0):
            return
        wait_until(lambda: attempt.ended, "it ends", WITHIN_S)
        newest = newest_checkpoint(host.home, request.fingerprint)
        assert newest is not None
        file = newest.path / ("model.safetensors", "optimizer-rank0.safetensors", "state.json")[attempt.number]
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(bytes(content))
        flipped.append(file)

    ended = host.run(request, pool, disturb)
    logs = "".join(host.log(work) for work in sorted((host.home / "attempts" / request.fingerprint[:16]).iterdir()))
    assert len(flipped) >= 2
    for file in flipped:
        said = f"checkpoint passed over: {file.parent}: {file.name} is not what manifest.json lists"
        assert said in logs
    assert_the_same(ended, whole(zero=1))


@pytest.mark.parametrize("asked", [(1,), (0, 1)], ids=["one", "both"])
def test_ranks_of_which_one_is_asked_to_stop_agree_on_a_step_and_go_on_from_it(
    host: Host, pool: dict[str, str], whole: Callable[..., Path], asked: tuple[int, ...]
) -> None:
    endings: list[tuple[str, str]] = []

    def ask(attempt: Attempt) -> None:
        if attempt.number > 0:
            return
        ready = [f"r{rank} | {request.job}, attempt" for rank in (0, 1)]  # said once signals are heard
        wait_until(lambda: all(line in host.log(attempt.work) for line in ready), "the ranks are there", WITHIN_S)
        assert attempt.signal(signal.SIGTERM, *asked)
        wait_until(lambda: attempt.ended, "it ends", WITHIN_S)
        endings.append((attempt.report["ending"], attempt.report["detail"]))
        saved = newest_checkpoint(host.home, request.fingerprint)
        assert saved is not None and saved.attempt == attempt.name and saved.step > host.step
        listed = {line["path"] for line in json.loads((saved.path / "manifest.json").read_text())["files"]}
        assert {"optimizer-rank0.safetensors", "optimizer-rank1.safetensors"} <= listed

    request = training(f"asked {asked}", ranks=2, zero=2, every_s=1e9)
    ended = host.run(request, pool, ask)
    [(ending, detail)] = endings
    assert ending == "interrupted" and detail.endswith("stopped at a checkpoint after a signal")
    assert_the_same(ended, whole(ranks=2, zero=2))


def test_data_latents_and_index_that_are_killed_end_with_the_same_bytes(host: Host) -> None:
    sections = {
        "data": ({"data": tiny_training.DATA}, ()),
        "latents": ({"data": tiny_training.DATA, "codec": tiny_training.CODEC}, ("data",)),
        "index": (
            {
                "data": tiny_training.DATA, "codec": {"kind": tiny_training.CODEC["kind"]},
                "evidence": {key: tiny_training.EVIDENCE[key] for key in ("rule", "min_overlap", "drop")},
                "training": {"steps": 2000, "global_batch": 4},
            },
            ("data",),
        ),
    }  # fmt: skip
    done: dict[str, dict[str, str]] = {"whole": {}, "killed": {}}
    before = host.kills
    for stage, (config, needs) in sections.items():
        folders = {}
        for label in done:
            fingerprint = hashlib.sha256(f"{stage} {label}".encode()).hexdigest()
            request = Request(
                job=stage, stage=stage, branch=None, fingerprint=fingerprint, attempt="", config=config, row=None,
                seed=0, inputs={}, out="", work="", resume=None,
                execution=replace(tiny_training.EXECUTION, checkpoint_every_s=0.0), rendezvous=tiny_training.ALONE,
            )  # fmt: skip
            draw = random.Random(stage)

            def disturb(attempt: Attempt, draw: random.Random = draw) -> None:
                if attempt.number < 3:
                    time.sleep(draw.uniform(0, 0.3))
                    attempt.signal(signal.SIGKILL, 0)

            inputs = {need: done[label][need] for need in needs}
            folders[label] = host.run(request, inputs, disturb if label == "killed" else None)
            done[label][stage] = fingerprint
        assert_the_same(folders["killed"], folders["whole"])
    assert host.kills > before


def test_an_evaluation_killed_again_and_again_publishes_the_same_and_computes_no_batch_of_a_checkpoint_again(
    host: Host, tmp_path: Path
) -> None:
    made = made_pool.make_inputs(tmp_path)
    inputs = {stage: host.put(stage, folder) for stage, folder in made.items()}
    requests = {}
    for label in ("whole", "killed"):
        asked = made_pool.evaluation(tmp_path / label, {}, "replay")
        section = {**asked.config["branch"], "cases": 4, "batch": 1}
        fingerprint = hashlib.sha256(f"evaluate {label}".encode()).hexdigest()
        requests[label] = replace(
            asked, fingerprint=fingerprint, job=f"evaluate/{label}", config={**asked.config, "branch": section}
        )
    whole = host.run(requests["whole"], inputs)
    before, draw, kept = host.kills, random.Random(5), []

    def disturb(attempt: Attempt) -> None:
        if attempt.number < 3:
            attempt.wait_for_steps(draw.choice((0, 1)))
            time.sleep(draw.uniform(0, 0.01))
            attempt.signal(signal.SIGKILL, 0)
        wait_until(lambda: attempt.ended, "it ends", WITHIN_S)
        # Each case of the checkpoint it began with is the very file, linked: not one that was made again.
        resume = json.loads((attempt.work / "request.json").read_text())["resume"]
        mine = attempt.work / "checkpoints"
        if resume is not None and list(mine.glob("step-*")):
            newest = max(mine.glob("step-*"), key=lambda path: int(path.name[5:]))
            for video in Path(resume).glob("*.mkv"):
                kept.append(video.stat().st_ino == (newest / video.name).stat().st_ino)

    killed = host.run(requests["killed"], inputs, disturb)
    assert host.kills - before >= 2 and kept and all(kept)
    assert_the_same(killed, whole)
