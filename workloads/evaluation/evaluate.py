"""The stage evaluate: generate a branch's cases with a trained model, and measure them.

Cases are generated in batches of one size, which ranks share. The bits of a case depend neither on its place in a batch
nor on the others there (tests/evaluation/test_neighbours.py), so results do not depend on how many ranks or other cases
there are, or on what an earlier attempt or job has made already. Rank 0 waits for the videos and measures.

What is published, in `out`:

| file | content |
|---|---|
| `cases.jsonl` | values (`values.py`) |
| `cases.json` | id, slug, scene, start and commanded poses of each case |
| `frames/{slug}.mkv` | the video without loss (`lossless.py`), frame 0 given |
| `strips/{slug}.png` | source, turning point, tail; the truth beneath |
| `samples/{slug}.mp4` | the first `SAMPLES` cases |

Source: study.md section 7; design, Jobs and Contract.
"""

import importlib
import keyword
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from workloads.contract.request import Request
from workloads.data.codec import FrameCodec, make_codec
from workloads.data.frames import BrokenFrame, blank
from workloads.data.latents import Latents
from workloads.data.pool import Pool
from workloads.data.text import make_text_encoder
from workloads.evaluation.branches.interface import Branch, Frames
from workloads.evaluation.cases import Setting, batches, write_settings
from workloads.evaluation.finished import is_finished, load_frames, restore, save_frames, take_over, write_checkpoint
from workloads.evaluation.networks.measures import Measures, measures
from workloads.evaluation.perturbations import perturb_of
from workloads.evaluation.psnr_ssim import WINDOW
from workloads.evaluation.recorded import codec_weights, commanded
from workloads.evaluation.rollout import Case, Perturb, roll_out
from workloads.evaluation.strips import shown, write_strip
from workloads.evaluation.values import CaseMetric, means, write_values
from workloads.evaluation.videos import write_video
from workloads.model.weights import load_model
from workloads.runtime.errors import BadInput
from workloads.runtime.progress import Progress, StageOutcome
from workloads.study.items import foreign_scene
from workloads.study.memory.families import row_from
from workloads.study.scenes import FOREIGN
from workloads.study.stages import BRANCHES

SAMPLES = 4  # cases whose video is published as MP4
BLANK = "blank_frames"
"""Metric: share of a case's generated frames that show nothing; in an evaluation that has any, of all its cases."""
LOOK_S = 0.2  # how often rank 0 looks for the other ranks' videos


def run(request: Request, progress: Progress) -> StageOutcome:
    """Evaluate one branch of one trained model.

    Raises:
        BadInput: an unknown branch, a section that the pool cannot satisfy, or inputs that do not belong together.
        BrokenFrame: the model generates what is no image; no case is left out of a mean for it.
    """
    began = time.monotonic()
    branch = branch_of(request)
    pool = Pool.open(request.inputs["data"], request.reads.get("data"))
    section = request.config["branch"]
    chunk_frames = int(pool.data["chunk_frames"])
    settings = settings_of(request, branch, pool)
    out, checkpoints = Path(request.out), Path(request.work) / "checkpoints"
    videos = out / "frames"
    videos.mkdir(parents=True, exist_ok=True)
    rank, world = request.rendezvous.rank, request.rendezvous.world_size
    networks = measuring(branch, request, (int(pool.data["height"]), int(pool.data["width"]))) if rank == 0 else None
    own = batches(settings, int(section["batch"]))[rank::world]
    of_rank = [setting for batch in own for setting in batch]
    if request.resume is not None:  # each rank its own, so that none computes what another is about to take over
        restore(Path(request.resume), videos, of_rank, request.fingerprint)
    take_over(request.finished, videos, of_rank)
    mine = batches([s for s in of_rank if not is_finished(videos, s)], int(section["batch"]))
    listed: dict[str, Mapping[str, Any]] = {}

    def keep() -> None:
        write_checkpoint(checkpoints, videos, settings, request.fingerprint, listed)

    generate: Generator | None = None
    for batch in mine:
        if progress.stopping:
            return StageOutcome(steps=_count(videos, settings), stopped=True)
        generate = generate or Generator.of(request, pool)
        try:
            made = generate(batch, progress, videos, settings)
        except BrokenFrame as error:
            raise BrokenFrame(
                f"{request.name}: {error}; its training has diverged: look at its losses and skipped steps, and train "
                "with a lower controls.training.rate or more warmup_steps"
            ) from None
        for setting, frames in zip(batch, made, strict=True):
            save_frames(videos, setting, frames)
        if rank == 0:
            keep()
    if networks is None:
        return StageOutcome(steps=_count(videos, settings))
    while _count(videos, settings) < len(settings):  # the other ranks'; one that fails has us asked to stop
        keep()
        if progress.stopping:
            return StageOutcome(steps=_count(videos, settings), stopped=True)
        progress.at(_count(videos, settings), len(settings), f"{request.branch}, waiting for other ranks")
        time.sleep(LOOK_S)
    keep()
    generated_s = time.monotonic() - began
    progress.at(len(settings), len(settings), f"{request.branch}, measuring")
    values = publish(branch, settings, pool, out, chunk_frames, networks, partial(branch.truth, pool=pool))
    for name, value in means(values).items():
        progress.metric(0, name, value)
    records: dict[str, Any] = {
        "commanded": commanded(settings, pool),
    }
    if networks.weights:
        records["measuring_weights"] = dict(networks.weights)
    codec = Latents.open(request.inputs["latents"]).codec_section
    weights = codec_weights(codec, request.config["sampler"], request.execution.paths)
    if weights:
        records["codec_weights"] = weights
    return StageOutcome(
        steps=len(settings),
        records=records,
        cost={"generate_s": generated_s, "measure_s": time.monotonic() - began - generated_s},
    )


def settings_of(request: Request, branch: Branch, pool: Pool) -> list[Setting]:
    """The cases that a request asks for.

    Raises:
        BadInput: a section that the pool cannot satisfy, or frames that are too small.
    """
    if min(int(pool.data["height"]), int(pool.data["width"])) < WINDOW:
        raise BadInput(
            f"controls.data.height, width are {pool.data['height']}, {pool.data['width']}; "
            f"SSIM compares windows of {WINDOW} × {WINDOW} pixels: allowed: {WINDOW} and more"
        )
    section = request.config["branch"]
    if request.items is not None:  # the pool may hold more, or be opened for what these cases read
        section = {**section, "cases": 0}
    settings = branch.settings(pool, section, int(pool.data["chunk_frames"]))
    if request.items is not None:
        wanted = frozenset(request.items)
        settings = [setting for setting in settings if setting.id in wanted]
        if lost := sorted(wanted - {setting.id for setting in settings}):
            raise BadInput(
                f"request.json: items has case {lost[0]}, which the pool does not give; the plan and the pool are of "
                "different code; run the study again"
            )
    return settings[:1] if request.smoke else settings


def branch_of(request: Request) -> Branch:
    """The module of a request's branch: `branches/{branch}.py`, with `_` behind a name that Python keeps for itself.

    Raises:
        BadInput: it has none, or an unknown one.
    """
    if request.branch is None or request.branch not in BRANCHES:
        raise BadInput(f"request.json: branch is {request.branch!r}; allowed: {', '.join(BRANCHES)}")
    name = f"{request.branch}_" if keyword.iskeyword(request.branch) else request.branch
    module: Any = importlib.import_module(f"workloads.evaluation.branches.{name}")
    found: Branch = module
    return found


@dataclass(frozen=True)
class Generator:
    """A model with everything that turns settings into videos."""

    request: Request
    pool: Pool
    latents: Latents
    model: Any
    description: Mapping[str, Any]
    device: str

    @staticmethod
    def of(request: Request, pool: Pool) -> "Generator":
        """Load the trained weights as the request's row.

        Raises:
            BadInput: unreadable weights, or a pool and latents that are not those of the training.
        """
        device = device_of(request)
        model, description = load_model(Path(request.inputs["train"]), request.row, device)
        latents = Latents.open(request.inputs["latents"], request.reads.get("latents"))
        for name, theirs in (("data", latents.data_section), ("codec", latents.codec_section)):
            if any(theirs.get(key) != value for key, value in description[name].items()):
                raise BadInput(
                    f"request.json: inputs.train and inputs.latents were made with different sections {name}; "
                    "give the artifacts of one plan"
                )
        return Generator(request, pool, latents, model, description, device)

    @cached_property
    def codec(self) -> FrameCodec:
        """The codec that the model was trained with; loaded once."""
        return make_codec(self.description["codec"], self.request.execution.paths, self.device)

    @cached_property
    def negative_text(self) -> npt.NDArray[np.float32] | None:
        """(l, width) of the guidance's other prompt; encoded once, and a language model is let go of again."""
        sampler = self.request.config["sampler"]
        if float(sampler["guidance"]) == 1.0:
            return None
        encoder = make_text_encoder(self.description["codec"], self.request.execution.paths, self.device)
        return encoder.encode(sampler["negative"])

    def _perturb(self, setting: Setting) -> Perturb | None:
        """What is done to the evidence of a case; None: nothing."""
        if not setting.perturbation:
            return None
        latents = None
        if setting.perturbation == FOREIGN:
            scene = foreign_scene(setting.id, self.pool.scenes("open"))
            if scene is None:
                raise BadInput(
                    f"case {setting.id}: the pool has no other open-domain scene to take a foreign frame from; make "
                    "the pool larger (controls.data), or leave `foreign` out of branches.sensitivity.perturb"
                )
            latents = self.codec.encode_each(self.pool.frames(scene, [0]))[0]
        return perturb_of(setting, self.request.config["branch"], latents)

    def __call__(
        self, batch: Sequence[Setting], progress: Progress, videos: Path, settings: Sequence[Setting]
    ) -> list[Any]:
        """Videos (T, h, w, 3) of one batch.

        A batch always has `branch.batch` cases, the last one again and again where there are fewer: what a case's bits
        are must not depend on how many others there are.
        """
        config, described, branch = self.request.config, self.description, str(self.request.branch)
        sampler, row = config["sampler"], row_from(self.request.row or described["row"])
        done = _count(videos, settings)
        cases = [
            Case(
                id=setting.id,
                first_frame=self.pool.frames(setting.scene, [setting.start])[0],
                poses=setting.poses,
                text=self.latents.text(setting.scene, setting.start),
                drawn_as=setting.drawn_as,
                perturb=self._perturb(setting),
            )
            for setting in batch
        ]
        filled = [*cases, *cases[-1:] * (int(config["branch"]["batch"]) - len(cases))]
        made = roll_out(
            self.model,
            self.codec,
            filled,
            frames=row.evidence_frames(config["evidence"]),
            streams=row.streams,
            rule=config["evidence"]["rule"],
            min_overlap=float(config["evidence"]["min_overlap"]),
            chunk_frames=int(described["data"]["chunk_frames"]),
            sampler=sampler,
            shift=float(described["training"]["shift"]),
            branch=branch,
            negative_text=self.negative_text,
            device=self.device,
            precision=described["training"]["precision"],
            on_chunk=lambda chunk, of: progress.at(done, len(settings), f"{branch} chunk {chunk + 1} of {of}"),
        )
        return made[: len(cases)]


def measuring(branch: Branch, request: Request, frame_shape: tuple[int, int]) -> Measures:
    """The networks that the branch's section names, loaded on this rank's device.

    Raises:
        BadInput: weights that are not there or not the network's, or frames too small for it.
    """
    return measures(
        str(request.branch),
        branch.NETWORKS,
        request.config["branch"],
        request.execution.paths,
        frame_shape,
        device_of(request),
    )


def device_of(request: Request) -> str:
    """Where this rank computes."""
    return f"cuda:{request.rendezvous.local_rank}" if request.execution.device == "cuda" else "cpu"


def publish(
    branch: Branch,
    settings: Sequence[Setting],
    pool: Pool,
    out: Path,
    chunk_frames: int,
    networks: Measures,
    truth_of: Callable[[Setting], Frames | None],
) -> list[CaseMetric]:
    """Measure the videos in `out/frames` and write everything else beside them; returns all values."""
    for folder in ("strips", "samples"):
        (out / folder).mkdir(exist_ok=True)
    values, features, blanks = [], [], {}
    for number, setting in enumerate(settings):
        frames = load_frames(out / "frames", setting)
        truth = truth_of(setting)
        values += branch.measure(setting, frames, truth, pool, chunk_frames, networks)
        features.append(branch.features(frames, truth, networks))
        blanks[setting.id] = float(blank(frames[1:]).mean())
        pictures = shown(len(frames))
        rows = [frames[pictures]] if truth is None else [frames[pictures], truth[pictures]]
        write_strip(out / "strips" / f"{setting.slug}.png", rows)
        if number < SAMPLES:
            write_video(out / "samples" / f"{setting.slug}.mp4", frames)
    values += branch.pooled(features, networks)
    if any(blanks.values()):
        values += [CaseMetric(case, BLANK, "1", "low", share) for case, share in blanks.items()]
    write_settings(out / "cases.json", settings)
    write_values(out / "cases.jsonl", values)
    return values


def _count(videos: Path, settings: Sequence[Setting]) -> int:
    return sum(is_finished(videos, setting) for setting in settings)
