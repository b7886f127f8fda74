"""The judge `vlm`: vision-language models, asked over HTTP, was the place that was returned to the same.

Every model of `controls.judge.models` scores every case; unit `points:vlm:MODEL` keeps their scores apart. The four
scores are the model's, the total is ours. Answers are saved one by one, so that judging resumes by answer, and
results do not depend on the order in which answers arrive. Rank 0 judges alone: it waits for others' computing.

How to use it: docs/how-to/judge.md. Definitions: study.md section 7, Judge.
"""

import os
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from workloads.contract.request import Request
from workloads.data.pool import Pool
from workloads.evaluation.cases import Setting, read_settings
from workloads.evaluation.finished import load_frames, taken_lines
from workloads.evaluation.judge_lines import score_lines
from workloads.evaluation.judge_mask import tail
from workloads.evaluation.values import CaseMetric, means, write_values
from workloads.evaluation.vlm import rubric
from workloads.evaluation.vlm.asking import JudgeReply, Spent, ask
from workloads.evaluation.vlm.cache import Answers, StoredAnswer, key_of
from workloads.evaluation.vlm.client import Client
from workloads.evaluation.vlm.endpoint import URL, endpoint_from
from workloads.runtime.errors import BadInput
from workloads.runtime.progress import Progress, StageOutcome
from workloads.runtime.step_folders import first_intact

OUTAGE = 8
"""Questions in a row that reach no server, after all their tries: it is gone, and an attempt later will do better."""

LOOK_S = 0.2  # how often a pause looks whether the job is asked to end


class Unreachable(Exception):
    """The endpoint answers nobody: not the cases' fault, so that nothing is published as missing for it."""


Frames = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class JudgeQuestion:
    """One case for one model."""

    setting: Setting
    model: str
    named: str | None
    """The object."""
    videos: Path
    shown: tuple[int, ...]
    """Frames of the video: the source's, then those of the tail."""
    key: str

    @property
    def case(self) -> str:
        """Id of the case."""
        return self.setting.id

    def images(self) -> Frames:
        """The pictures, (1 + n, h, w, 3), read when they are needed: all cases' together may not fit in memory."""
        return pictures(self.videos, self.setting, self.shown)


def run(
    request: Request,
    progress: Progress,
    *,
    environment: Mapping[str, str] = os.environ,
    sleep: Callable[[float], None] = time.sleep,
) -> StageOutcome:
    """Judge every case of an evaluation by every model.

    Args:
        environment: names the endpoint (`vlm/endpoint.py`).
        sleep: waits between tries.

    Raises:
        BadInput: no endpoint, or one that refuses the key, the model or the question; or files that cannot be read.
        Unreachable: the endpoint answers no more.
    """
    if request.rendezvous.rank > 0:
        return StageOutcome(steps=0)
    began = time.monotonic()
    paths = request.execution.paths
    endpoint = endpoint_from(environment, paths)
    models = [str(model) for model in request.config["judge"]["models"]]
    if not models or len(set(models)) < len(models):
        raise BadInput(f"controls.judge.models is {models}; allowed: at least one, each once; name the models to ask")
    answers = Answers(Path(request.work) / "checkpoints", request.fingerprint, shared_folder(paths))
    if request.resume is not None:
        first_intact(Path(request.resume), answers.restore)
    known = taken_lines(request.finished)
    scored = {(line.case, line.unit) for lines in known.values() for line in lines}
    every = list(asked_of(request, models))
    questions = [one for one in every if (one.case, unit_of(one.model)) not in scored]
    clients = {model: Client(endpoint, model) for model in models}
    unanswered = sum(
        answers.own(question.key) is None and answers.found(question.key) is None for question in questions
    )
    tally = Tally(outage=min(OUTAGE, unanswered))

    def settle(question: JudgeQuestion) -> JudgeReply | None:
        """Answer one question; None where it is answered already, or where the job ends first."""
        if answers.own(question.key) is not None or progress.stopping or tally.gone:
            return None
        entry = answers.found(question.key)
        if entry is not None:
            answers.keep(StoredAnswer(entry.key, entry.scores, Spent()))  # another job has paid for it
            return None
        asked = ask(
            clients[question.model],
            rubric.turns(question.named, question.images()),
            pause=lambda seconds: pause(seconds, lambda: progress.stopping, sleep),
            stopping=lambda: progress.stopping,
            jitter=random.Random(question.key),
        )
        if asked.scores is not None:
            answers.keep(StoredAnswer(question.key, asked.scores, asked.spent))
        return asked

    keys = {(question.case, question.model): question.key for question in questions}
    failed: dict[tuple[str, str], JudgeReply] = {}
    with ThreadPoolExecutor(endpoint.at_once, thread_name_prefix="judge") as pool:
        waiting = {pool.submit(settle, question): question for question in questions}
        try:
            for number, future in enumerate(as_completed(waiting)):
                question, asked = waiting[future], future.result()
                progress.at(number + 1, len(questions), f"judging {request.branch}")
                tally.note(asked)
                if asked is not None and asked.scores is None and not asked.stopped:
                    failed[question.case, question.model] = asked
                    print(
                        f"no score of {question.case} from {question.model}: {endpoint.masked(asked.why)}", flush=True
                    )
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    failed = {name: asked for name, asked in failed.items() if answers.own(keys[name]) is None}
    if progress.stopping and any(answers.own(key) is None and name not in failed for name, key in keys.items()):
        return StageOutcome(steps=len(answers), stopped=True)
    if tally.gone:
        raise Unreachable(
            f"the judge's server was not reached by {tally.outage} questions in a row, the last because {tally.last}; "
            f"see that it runs and that {URL} names it; what was answered is kept"
        )
    values: list[CaseMetric] = []
    for question in every:
        lines = [line for line in known.get(question.case, ()) if line.unit == unit_of(question.model)]
        values += lines or published([question], answers)
    write_values(Path(request.out) / "cases.jsonl", values)
    counts = costs(questions, answers, failed, tally)
    for name, value in {**shown(values, models), **counts}.items():
        progress.metric(0, name, value)
    return StageOutcome(
        steps=len(questions) - len(failed),
        records={
            "judge_rubric": rubric.VERSION,
            "judge_missing": {m: sorted(case for case, model in failed if model == m) for m in models},
        },
        cost={**counts, "judge_s": time.monotonic() - began},
    )


def shared_folder(paths: Mapping[str, str]) -> Path | None:
    """The folder of answers that jobs share, made if need be; None: there is none.

    Raises:
        BadInput: it cannot be written to.
    """
    if not paths.get("judge_cache"):
        return None
    folder = Path(paths["judge_cache"])
    try:
        folder.mkdir(parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK | os.X_OK)
    except OSError:
        writable = False
    if not writable:
        raise BadInput(
            f"paths.judge_cache is {str(folder)!r}, which is no folder that can be written to; "
            "give another one, or leave it out"
        )
    return folder


def asked_of(request: Request, models: Sequence[str]) -> Iterator[JudgeQuestion]:
    """The questions, by case and then by model; a case whose tail never looks at the source has none."""
    section = request.config["judge"]
    pool = Pool.open(request.inputs["data"], request.reads.get("data"))
    evaluated = Path(request.inputs["evaluate"])
    for setting in read_settings(evaluated / "cases.json", request.items):
        last = tail(setting.poses, int(section["tail_frames"]), float(section["min_overlap"]))
        if not len(last):
            continue
        videos, shown = evaluated / "frames", (0, *(int(i) for i in last))
        images, named = pictures(videos, setting, shown), pool.object_of(setting.scene)
        for model in models:
            yield JudgeQuestion(setting, model, named, videos, shown, key_of(images, named, model))


def pictures(videos: Path, setting: Setting, shown: Sequence[int]) -> Frames:
    """Frames `shown` of a case's video, (n, h, w, 3)."""
    return load_frames(videos, setting, shown)


@dataclass
class Tally:
    """What happened while asking, but for the answers themselves."""

    outage: int
    in_a_row: int = 0
    """Questions that reached no server since the last one that did."""
    gone: bool = False
    """Whether the server was taken for gone; it stays so, since other questions have been let go for it."""
    last: str = ""
    spent: Spent = field(default_factory=Spent)
    """On questions without an answer; what answers took is kept with them."""

    def note(self, asked: JudgeReply | None) -> None:
        """Take one question's end into account; None: nothing was asked."""
        if asked is None or asked.stopped:
            return
        if asked.scores is None:
            self.spent += asked.spent
        if asked.reached:
            self.in_a_row = 0
            return
        self.in_a_row, self.last = self.in_a_row + 1, asked.why
        self.gone = self.gone or self.in_a_row >= self.outage


def pause(seconds: float, stopping: Callable[[], bool], sleep: Callable[[float], None]) -> None:
    """Wait, in pieces, for as long as the job is not asked to end."""
    while seconds > 0 and not stopping():
        sleep(min(seconds, LOOK_S))
        seconds -= LOOK_S


def unit_of(model: str) -> str:
    """The unit of a model's scores."""
    return f"points:vlm:{model}"


def published(questions: Sequence[JudgeQuestion], answers: Answers) -> list[CaseMetric]:
    """The lines of all answered questions, in the questions' order."""
    values: list[CaseMetric] = []
    for question in questions:
        entry = answers.own(question.key)
        if entry is not None:
            values += score_lines(question.case, unit_of(question.model), entry.scores)
    return values


def costs(
    questions: Sequence[JudgeQuestion], answers: Answers, failed: Mapping[tuple[str, str], JudgeReply], tally: Tally
) -> dict[str, float]:
    """What this job took over all its attempts' answers, and how many scores are missing."""
    entries = [entry for key in {q.key for q in questions} if (entry := answers.own(key)) is not None]
    spent = tally.spent
    for entry in entries:
        spent += entry.spent
    return {
        "judge_requests": float(spent.requests),
        "judge_retries": float(spent.retries),
        "judge_prompt_tokens": float(spent.prompt_tokens),
        "judge_completion_tokens": float(spent.completion_tokens),
        "judge_cached": float(sum(entry.spent.requests == 0 for entry in entries)),
        "judge_missing": float(len(failed)),
    }


def shown(values: Sequence[CaseMetric], models: Sequence[str]) -> dict[str, float]:
    """Means while a study runs: `judge` as with any judge, and `judge:MODEL` where several give scores."""
    found: dict[str, float] = {}
    for model in models:
        own = means(value for value in values if value.unit == f"points:vlm:{model}")
        found |= own if len(models) == 1 else {f"{name}:{model}": mean for name, mean in own.items()}
    return found
