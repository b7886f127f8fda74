"""The stage with the judge `vlm`, against a real server: lines, what is missing, resuming, caches, and the key."""

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import judged_pool
import made_pool
import pytest
import vlm_server as server
from vlm_server import KEY, Behaviour, Received, fails, in_turn, says, scores, serving

from workloads.contract.request import Request
from workloads.contract.result import EXIT_BAD_INPUT, EXIT_OK, EXIT_STOPPED, read_result
from workloads.data.pool import Pool
from workloads.evaluation import judge_vlm, judging
from workloads.runtime import run as by_hand
from workloads.runtime.errors import BadInput
from workloads.runtime.progress import Progress, StageOutcome

GOOD = says(scores(5, 4, 3, 2))
TOTAL = 20 * (0.45 * 5 + 0.25 * 4 + 0.20 * 3 + 0.10 * 2)
NAMES = ["judge", "judge_appearance", "judge_presence", "judge_scene", "judge_view"]
CASES = 4
LATE_S = 2.0
"""A question that is asked although the process was told to end is open for so long: the signal comes meanwhile."""


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return judged_pool.make(tmp_path_factory.mktemp("inputs"))


class Noted(Progress):
    """A progress that can be asked to stop from anywhere, and remembers metrics."""

    def __init__(self, work: Path) -> None:
        super().__init__(work)
        self.metrics: dict[str, float] = {}

    def metric(self, step: int, name: str, value: float) -> None:
        super().metric(step, name, value)
        self.metrics[name] = value


def judged(
    asked: Request, url: str, at_once: int = 1, when_started: Callable[[Noted], None] = lambda _: None
) -> tuple[StageOutcome, Noted]:
    """Run the stage; nothing ever waits between tries."""
    progress = Noted(Path(asked.work))
    when_started(progress)
    environment = {
        "ECHO_MATRIX_JUDGE_URL": url,
        "ECHO_MATRIX_JUDGE_KEY": KEY,
        "ECHO_MATRIX_JUDGE_CONCURRENCY": str(at_once),
    }
    try:
        outcome = judge_vlm.run(asked, progress, environment=environment, sleep=lambda _: None)
    finally:
        progress.close()
    return outcome, progress


def pictures_of(received: Received) -> tuple[str, ...]:
    return tuple(received.pictures)


def test_every_case_gets_its_scores_and_our_total(inputs: dict[str, Path], tmp_path: Path) -> None:
    with serving(in_turn(GOOD)) as running:
        outcome, progress = judged(judged_pool.judgement(tmp_path, inputs, ["a/model"]), running.url)
    lines = made_pool.values(tmp_path / "out")
    assert outcome.steps == CASES
    assert len(running.received) == CASES
    assert [line["metric"] for line in lines] == NAMES * CASES
    assert {line["unit"] for line in lines} == {"points:vlm:a/model"}
    assert [line["value"] for line in lines if line["metric"] == "judge"] == pytest.approx([TOTAL] * CASES)
    assert progress.metrics["judge"] == pytest.approx(TOTAL)
    assert outcome.cost["judge_requests"] == CASES
    assert outcome.cost["judge_prompt_tokens"] == CASES * server.USAGE["prompt_tokens"]
    assert outcome.cost["judge_completion_tokens"] == CASES * server.USAGE["completion_tokens"]
    assert outcome.cost["judge_missing"] == outcome.cost["judge_retries"] == outcome.cost["judge_cached"] == 0
    assert outcome.records["judge_missing"] == {"a/model": []}


def test_each_question_shows_its_case_and_names_its_own_object(inputs: dict[str, Path], tmp_path: Path) -> None:
    with serving(in_turn(GOOD)) as running:
        judged(judged_pool.judgement(tmp_path, inputs, ["m"]), running.url)
    pool = Pool.open(inputs["data"])
    names = {scene: pool.object_of(scene) for scene in pool.scenes("open")}
    assert len(set(names.values())) > 1
    assert {name for name in names.values() for received in running.received if name in received.text} == set(
        names.values()
    )
    for received in running.received:
        assert sum(name in received.text for name in set(names.values())) == 1
        # Of the last four frames (9 a chunk, 45 degrees), those that look at the source by 0.75 and more.
        assert 2 <= len(received.pictures) <= 5


def test_a_real_scene_is_asked_about_without_a_name(
    inputs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Pool, "world", lambda self, scene: None)
    with serving(in_turn(GOOD)) as running:
        judged(judged_pool.judgement(tmp_path, inputs, ["m"]), running.url)
    assert all("the most salient object of image 1" in received.text for received in running.received)


def test_several_models_score_the_same_cases_under_units_of_their_own(inputs: dict[str, Path], tmp_path: Path) -> None:
    def behave(_: int, body: Mapping[str, Any]) -> Behaviour:
        return says(scores(5, 5, 5, 5) if body["model"] == "kind" else scores(0, 0, 0, 0))

    with serving(behave) as running:
        _, progress = judged(judged_pool.judgement(tmp_path, inputs, ["kind", "stern"]), running.url, at_once=4)
    totals = {(line["unit"], line["value"]) for line in made_pool.values(tmp_path / "out") if line["metric"] == "judge"}
    assert totals == {("points:vlm:kind", 100.0), ("points:vlm:stern", 0.0)}
    assert "judge" not in progress.metrics
    assert (progress.metrics["judge:kind"], progress.metrics["judge:stern"]) == (100.0, 0.0)


def test_a_failure_is_a_missing_score_counted_and_named_and_never_a_zero(
    inputs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refused = ["open-00-1"]
    names = {scene: Pool.open(inputs["data"]).object_of(scene) for scene in refused}
    first: list[tuple[str, ...]] = []

    def behave(_: int, body: Mapping[str, Any]) -> Behaviour:
        received = Received("", {}, body)
        if names["open-00-1"] in received.text:
            first.append(pictures_of(received))
            if pictures_of(received) == first[0]:
                return says("I would rather not.")
        return GOOD

    with serving(behave) as running:
        outcome, progress = judged(judged_pool.judgement(tmp_path, inputs, ["m"]), running.url)
    lines = made_pool.values(tmp_path / "out")
    (lost,) = outcome.records["judge_missing"]["m"]
    assert outcome.steps == CASES - 1
    assert lost not in {line["case"] for line in lines}
    assert len(lines) == len(NAMES) * (CASES - 1)
    assert all(line["value"] > 0 for line in lines)
    assert outcome.cost["judge_missing"] == progress.metrics["judge_missing"] == 1
    assert outcome.cost["judge_requests"] == CASES - 1 + 3
    assert outcome.cost["judge_retries"] == 2
    assert f"no score of {lost} from m: invalid answer: " in capsys.readouterr().out


def test_results_do_not_depend_on_the_order_in_which_answers_arrive(inputs: dict[str, Path], tmp_path: Path) -> None:
    """One server lets the first question wait for the last one's answer; the other answers one at a time."""
    seen: dict[tuple[str, ...], int] = {}
    others = threading.Semaphore(0)

    def in_order(number: int, body: Mapping[str, Any]) -> Behaviour:
        seen[pictures_of(Received("", {}, body))] = number
        return says(scores(number, number, number, number))

    def reversed_order(_: int, body: Mapping[str, Any]) -> Behaviour:
        number = seen[pictures_of(Received("", {}, body))]

        def behave(handler: server.Handler) -> None:
            if number == 0:
                for _ in range(CASES - 1):
                    assert others.acquire(timeout=server.HELD_S)
            says(scores(number, number, number, number))(handler)
            others.release()

        return behave

    with serving(in_order) as running:
        judged(judged_pool.judgement(tmp_path / "one", inputs, ["m"]), running.url, at_once=1)
    with serving(reversed_order) as running:
        judged(judged_pool.judgement(tmp_path / "two", inputs, ["m"]), running.url, at_once=CASES)
    one, two = ((tmp_path / name / "out/cases.jsonl").read_bytes() for name in ("one", "two"))
    assert one == two


@pytest.mark.parametrize("at_once", [1, 2, 4])
def test_as_many_questions_are_open_as_allowed_and_no_more(
    inputs: dict[str, Path], tmp_path: Path, at_once: int
) -> None:
    together = server.Together(at_once, scores(5, 4, 3, 2))
    with serving(lambda *_: together) as running:
        judged(judged_pool.judgement(tmp_path, inputs, ["m", "n"]), running.url, at_once=at_once)
    assert running.most_open == at_once
    assert len(running.received) == 2 * CASES


def test_judging_ends_within_one_answer_when_asked_and_goes_on_from_there(
    inputs: dict[str, Path], tmp_path: Path
) -> None:
    stop: list[Noted] = []

    def behave(number: int, _: Mapping[str, Any]) -> Behaviour:
        if number == 1:
            stop[0].request_stop()  # while the second question is open
        return GOOD

    with serving(behave) as running:
        outcome, _ = judged(judged_pool.judgement(tmp_path / "first", inputs, ["m"]), running.url, 1, stop.append)
    assert (outcome.stopped, outcome.steps, len(running.received)) == (True, 2, 2)
    assert not (tmp_path / "first/out/cases.jsonl").exists()

    checkpoint = tmp_path / "first/work/checkpoints/step-2"
    manifest = json.loads((checkpoint / "manifest.json").read_text())
    assert all((checkpoint / line["path"]).stat().st_size == line["size"] for line in manifest["files"])
    with serving(in_turn(GOOD)) as running:
        asked = judged_pool.judgement(tmp_path / "second", inputs, ["m"], resume=str(checkpoint))
        outcome, _ = judged(asked, running.url)
        assert len(running.received) == CASES - 2
        judged(judged_pool.judgement(tmp_path / "whole", inputs, ["m"]), running.url)
    assert not outcome.stopped
    assert outcome.cost["judge_requests"] == CASES  # the job's, over its attempts
    published = [(tmp_path / name / "out/cases.jsonl").read_bytes() for name in ("second", "whole")]
    assert published[0] == published[1]


def test_every_answer_is_in_a_checkpoint_before_the_next_question(inputs: dict[str, Path], tmp_path: Path) -> None:
    """What a kill leaves behind: looked at from within the server, with one question open at a time."""
    found: list[int] = []

    def behave(number: int, _: Mapping[str, Any]) -> Behaviour:
        steps = [int(p.name.removeprefix("step-")) for p in (tmp_path / "work/checkpoints").glob("step-*")]
        found.append(max(steps, default=0))
        return GOOD

    with serving(behave) as running:
        judged(judged_pool.judgement(tmp_path, inputs, ["m"]), running.url)
    assert found == [0, 1, 2, 3]
    assert sorted(p.name for p in (tmp_path / "work/checkpoints").iterdir()) == ["step-3", "step-4"]


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, EXIT_STOPPED), (signal.SIGKILL, -9)])
def test_a_process_that_is_ended_while_a_question_is_open_leaves_every_answer_before_it(
    inputs: dict[str, Path], tmp_path: Path, number: signal.Signals, code: int
) -> None:
    asked = judged_pool.judgement(tmp_path / "first", inputs, ["m", "n"])
    asked.write(tmp_path / "request.json")
    processes: list[subprocess.Popen[bytes]] = []
    started = threading.Event()

    def behave(at: int, _: Mapping[str, Any]) -> Behaviour:
        if at == 2:
            assert started.wait(server.HELD_S)
            processes[0].send_signal(number)
            if number == signal.SIGKILL:
                processes[0].wait(server.HELD_S)
        if at > 2:
            time.sleep(LATE_S)
        return GOOD

    with serving(behave) as running:
        environment = {**os.environ, "ECHO_MATRIX_JUDGE_URL": running.url, "ECHO_MATRIX_JUDGE_CONCURRENCY": "1"}
        command = [sys.executable, "-m", "workloads.runtime.run", str(tmp_path / "request.json")]
        with subprocess.Popen(command, env=environment, cwd=Path(__file__).parents[2]) as process:
            processes.append(process)
            started.set()
            assert process.wait() == code
    # Killed: the open question is lost. Asked to end: it is kept, and so is one more if the signal is a little late.
    saved = 2 if number == signal.SIGKILL else len(running.received)
    assert 3 <= len(running.received) <= 4
    checkpoint = tmp_path / f"first/work/checkpoints/step-{saved}"
    with serving(in_turn(GOOD)) as running:
        outcome, _ = judged(
            judged_pool.judgement(tmp_path / "second", inputs, ["m", "n"], resume=str(checkpoint)), running.url
        )
    assert (outcome.steps, len(running.received)) == (2 * CASES, 2 * CASES - saved)


def test_a_checkpoint_of_another_job_or_none_at_all_is_refused(inputs: dict[str, Path], tmp_path: Path) -> None:
    with serving(in_turn(GOOD)) as running:
        judged(judged_pool.judgement(tmp_path / "first", inputs, ["m"]), running.url)
        checkpoint = str(tmp_path / "first/work/checkpoints/step-4")
        other = judged_pool.judgement(tmp_path / "second", inputs, ["m"], resume=checkpoint, fingerprint="0" * 64)
        with pytest.raises(BadInput, match="it is of job ffffffffffff"):
            judged(other, running.url)
        with pytest.raises(BadInput, match="set resume to null to begin anew"):
            judged(replace(other, resume=str(tmp_path)), running.url)


def with_cache(asked: Request, folder: Path) -> Request:
    return replace(asked, execution=dataclasses.replace(asked.execution, paths={"judge_cache": str(folder)}))


def test_jobs_share_answers_by_a_folder_and_only_valid_ones(inputs: dict[str, Path], tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    with serving(in_turn(says("no"), says("no"), says("no"), GOOD)) as running:
        judged(with_cache(judged_pool.judgement(tmp_path / "one", inputs, ["m"]), cache), running.url)
    assert len(list(cache.rglob("*.json"))) == CASES - 1
    with serving(in_turn(GOOD)) as running:
        asked = with_cache(judged_pool.judgement(tmp_path / "two", inputs, ["m"]), cache)
        outcome, _ = judged(asked, running.url)
        assert len(running.received) == 1  # the one that had no valid answer
        assert (outcome.cost["judge_cached"], outcome.cost["judge_requests"]) == (CASES - 1, 1)
        judged(with_cache(judged_pool.judgement(tmp_path / "three", inputs, ["n"]), cache), running.url)
        assert len(running.received) == 1 + CASES  # another model's answers are no answers
    assert not list(cache.rglob("*.tmp"))


DAMAGE: dict[str, Callable[[str], str]] = {
    "empty": lambda _: "",
    "cut": lambda text: text[: len(text) // 2],
    "no JSON": lambda _: "scores: 5",
    "a score out of range": lambda text: text.replace("5.0", "50.0"),
    "a score that is true": lambda text: text.replace("5.0", "true"),
    "another question's": lambda text: text.replace('"key": "', '"key": "0'),
    "another version": lambda text: text.replace('"version": 1', '"version": 0'),
    "negative tokens": lambda text: text.replace('"requests": 1', '"requests": -1'),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_entry_is_asked_again_and_mended(inputs: dict[str, Path], tmp_path: Path, name: str) -> None:
    cache = tmp_path / "cache"
    with serving(in_turn(GOOD)) as running:
        judged(with_cache(judged_pool.judgement(tmp_path / "one", inputs, ["m"]), cache), running.url)
        good = {path: path.read_text() for path in cache.rglob("*.json")}
        damaged = min(good)
        damaged.write_text(DAMAGE[name](good[damaged]))
        assert damaged.read_text() != good[damaged]
        judged(with_cache(judged_pool.judgement(tmp_path / "two", inputs, ["m"]), cache), running.url)
    assert len(running.received) == CASES + 1
    assert damaged.read_text() == good[damaged]
    one, two = ((tmp_path / n / "out/cases.jsonl").read_bytes() for n in ("one", "two"))
    assert one == two


def test_a_cache_that_cannot_be_written_to_is_refused(inputs: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    asked = with_cache(judged_pool.judgement(tmp_path / "one", inputs, ["m"]), tmp_path / "file")
    with pytest.raises(BadInput, match="which is no folder that can be written to"):
        judged(asked, "http://127.0.0.1:9/v1")


def test_a_server_that_is_gone_fails_the_attempt_and_publishes_nothing_as_missing(
    inputs: dict[str, Path], tmp_path: Path
) -> None:
    with serving(in_turn(GOOD)) as running:
        gone = running.url
    with pytest.raises(judge_vlm.Unreachable, match=f"not reached by {CASES} questions in a row"):
        judged(judged_pool.judgement(tmp_path / "first", inputs, ["m"]), gone)
    assert not (tmp_path / "first/out/cases.jsonl").exists()


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_server_that_is_gone_behind_a_proxy_is_gone_too(inputs: dict[str, Path], tmp_path: Path, status: int) -> None:
    with (
        serving(in_turn(fails(status))) as running,
        pytest.raises(judge_vlm.Unreachable, match=f"not reached by {CASES} questions in a row, .*{status}"),
    ):
        judged(judged_pool.judgement(tmp_path / "first", inputs, ["m"]), running.url)
    assert not (tmp_path / "first/out/cases.jsonl").exists()


def test_a_server_that_goes_away_in_between_loses_no_answer(inputs: dict[str, Path], tmp_path: Path) -> None:
    with (
        serving(in_turn(GOOD, server.hangs_up)) as running,
        pytest.raises(judge_vlm.Unreachable, match="what was answered is kept"),
    ):
        judged(judged_pool.judgement(tmp_path / "first", inputs, ["m", "n", "o"]), running.url)
    checkpoint = tmp_path / "first/work/checkpoints/step-1"
    with serving(in_turn(GOOD)) as running:
        asked = judged_pool.judgement(tmp_path / "second", inputs, ["m", "n", "o"], resume=str(checkpoint))
        judged(asked, running.url)
        assert len(running.received) == 3 * CASES - 1


def test_a_server_that_is_gone_when_few_questions_are_left_is_gone_too(inputs: dict[str, Path], tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    with serving(in_turn(GOOD)) as running:
        judged(with_cache(judged_pool.judgement(tmp_path / "first", inputs, ["m"]), cache), running.url)
        gone = running.url
    checkpoint = str(tmp_path / f"first/work/checkpoints/step-{CASES - 1}")
    min(cache.rglob("*.json")).unlink()
    resumed = judged_pool.judgement(tmp_path / "resumed", inputs, ["m"], resume=checkpoint)
    sharing = with_cache(judged_pool.judgement(tmp_path / "sharing", inputs, ["m"]), cache)
    for asked in (resumed, sharing):
        with pytest.raises(judge_vlm.Unreachable, match="not reached by 1 questions in a row"):
            judged(asked, gone)
        assert not Path(asked.out, "cases.jsonl").exists()


@pytest.mark.parametrize("models", [[], ["m", "m"]])
def test_models_that_are_no_list_of_judges_are_refused(
    inputs: dict[str, Path], tmp_path: Path, models: list[str]
) -> None:
    with pytest.raises(BadInput, match="at least one, each once"):
        judged(judged_pool.judgement(tmp_path, inputs, models), "http://127.0.0.1:9/v1")


def test_an_unknown_judge_is_refused(inputs: dict[str, Path], tmp_path: Path) -> None:
    asked = judged_pool.judgement(tmp_path, inputs, [])
    asked = replace(asked, config={**asked.config, "judge": {**asked.config["judge"], "name": "oracle"}})
    with pytest.raises(BadInput, match="'oracle'; allowed: mask, vlm"):
        made_pool.run(judging, asked)


def test_ranks_other_than_the_first_ask_nothing(inputs: dict[str, Path], tmp_path: Path) -> None:
    asked = judged_pool.judgement(tmp_path, inputs, ["m"], rendezvous=made_pool.rendezvous(1, world_size=2))
    with serving(in_turn(GOOD)) as running:
        assert judged(asked, running.url)[0].steps == 0
    assert not running.received


def test_by_hand_it_runs_from_a_request_and_the_environment(
    inputs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = judged_pool.judgement(tmp_path, inputs, ["m"])
    asked.write(tmp_path / "request.json")
    with serving(in_turn(fails(429, Retry_After="0.01"), GOOD)) as running:
        monkeypatch.setenv("ECHO_MATRIX_JUDGE_URL", running.url)
        assert by_hand.main([str(tmp_path / "request.json")]) == EXIT_OK
    result = read_result(tmp_path / "work/result.json")
    assert (result.ending, result.steps, result.cost["judge_retries"]) == ("ok", CASES, 1.0)
    assert len(made_pool.values(tmp_path / "out")) == len(NAMES) * CASES
    assert "Authorization" not in running.received[0].headers


STORIES: dict[str, Callable[[int, Mapping[str, Any]], Behaviour]] = {
    "well": in_turn(GOOD),
    "the key in answers": in_turn(says(KEY), says(f'{{"{KEY}": 5}}'), says(f'{{"appearance": "{KEY}"}}'), GOOD),
    "the key in faults": in_turn(server.echoes_the_key(500), server.echoes_the_key(503), GOOD),
    "a wrong key": in_turn(server.echoes_the_key(401)),
    "a refused question": in_turn(server.echoes_the_key(400)),
    "no such model": in_turn(server.echoes_the_key(404)),
}


@pytest.mark.parametrize("story", STORIES)
def test_the_key_gets_into_no_file_and_no_output(
    inputs: dict[str, Path],
    tmp_path: Path,
    story: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(judge_vlm, "pause", lambda *_: None)
    asked = with_cache(judged_pool.judgement(tmp_path, inputs, ["m"]), tmp_path / "cache")
    asked.write(tmp_path / "request.json")
    with serving(STORIES[story]) as running:
        monkeypatch.setenv("ECHO_MATRIX_JUDGE_URL", running.url)
        monkeypatch.setenv("ECHO_MATRIX_JUDGE_KEY", KEY)
        code = by_hand.main([str(tmp_path / "request.json")])
    assert running.received[0].headers["Authorization"] == f"Bearer {KEY}"
    assert code in (EXIT_OK, EXIT_BAD_INPUT)
    assert_nowhere(tmp_path, capfd)


@pytest.mark.parametrize("url", [f"http://me:{KEY}@127.0.0.1:9/v1", f"http://127.0.0.1:9/v1?key={KEY}"])
def test_a_url_with_a_secret_is_refused_and_gets_into_no_file_and_no_output(
    inputs: dict[str, Path],
    tmp_path: Path,
    url: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    judged_pool.judgement(tmp_path, inputs, ["m"]).write(tmp_path / "request.json")
    monkeypatch.setenv("ECHO_MATRIX_JUDGE_URL", url)
    assert by_hand.main([str(tmp_path / "request.json")]) == EXIT_BAD_INPUT
    assert_nowhere(tmp_path, capfd)


def assert_nowhere(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """No file under `folder`, no name of one, and nothing printed holds the key."""
    printed = "".join(capfd.readouterr())
    assert printed
    assert KEY not in printed
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    for path in files:
        assert KEY not in str(path)
        with contextlib.closing(path.open("rb")) as file:
            assert KEY.encode() not in file.read(), path
