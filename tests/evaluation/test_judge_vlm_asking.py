"""Three tries against a real server: what is asked again, how, and what is given up as missing."""

import random
import socket
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import numpy as np
import pytest
import vlm_server as server
from vlm_server import KEY, Behaviour, Server, fails, in_turn, says, scores, serving

from workloads.evaluation.judge_mask import Scores
from workloads.evaluation.vlm import rubric
from workloads.evaluation.vlm.asking import JITTER, LONGEST_PAUSE_S, TRIES, JudgeReply, ask, pause_s
from workloads.evaluation.vlm.client import Client
from workloads.evaluation.vlm.endpoint import endpoint_from
from workloads.runtime.errors import BadInput

GOOD = says(scores(5, 4, 3, 2))
SCORES = Scores(5.0, 4.0, 3.0, 2.0)
TURNS = rubric.turns("an egg shape", np.zeros((2, 8, 16, 3), dtype=np.uint8))


class Asking:
    """Asks one question, and remembers the pauses instead of waiting."""

    def __init__(self, url: str, timeout_s: str = "30") -> None:
        environment = {
            "ECHO_MATRIX_JUDGE_URL": url,
            "ECHO_MATRIX_JUDGE_KEY": KEY,
            "ECHO_MATRIX_JUDGE_TIMEOUT_S": timeout_s,
        }
        self.client = Client(endpoint_from(environment, {}), "a-model")
        self.pauses: list[float] = []
        self.stop = False

    def __call__(self) -> JudgeReply:
        return ask(
            self.client, TURNS, pause=self.pauses.append, stopping=lambda: self.stop, jitter=random.Random("question")
        )


def asked(*behaviours: Behaviour, timeout_s: str = "30") -> tuple[JudgeReply, Server, list[float]]:
    with serving(in_turn(*behaviours)) as running:
        asking = Asking(running.url, timeout_s)
        return asking(), running, asking.pauses


def test_a_question_is_what_the_study_says() -> None:
    end, running, pauses = asked(GOOD)
    assert (end.scores, end.why, pauses) == (SCORES, "", [])
    (received,) = running.received
    assert received.path == "/v1/chat/completions"
    assert received.headers["Authorization"] == f"Bearer {KEY}"
    assert received.body["model"] == "a-model"
    assert received.body["temperature"] == 0
    assert received.body["max_tokens"] == 800
    assert received.body["response_format"] == {"type": "json_object"}
    assert [turn["role"] for turn in received.body["messages"]] == ["system", "user"]
    assert len(received.pictures) == 2
    assert (end.spent.requests, end.spent.retries) == (1, 0)
    assert (end.spent.prompt_tokens, end.spent.completion_tokens) == (700, 30)


BROKEN: dict[str, Behaviour] = {
    "rate limit": fails(429, Retry_After="0.01"),
    "fault": fails(500),
    "overload, as a page": fails(503, b"<html>busy</html>", "text/html"),
    "half a body": server.stops_halfway,
    "no reply": server.hangs_up,
    "a page": fails(200, b"<html>welcome</html>", "text/html"),
    "half JSON": fails(200, server.completion(scores(5, 4, 3, 2))[:40]),
    "JSON of another kind": fails(200, b'{"choices": []}'),
    "a list": fails(200, b"[]"),
    "content that is no text": fails(200, b'{"choices": [{"message": {"content": [1]}}]}'),
    "no UTF-8": fails(200, b"\xff\xfe{"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_reply_is_asked_again_after_a_pause_with_the_same_question(name: str) -> None:
    end, running, pauses = asked(BROKEN[name], BROKEN[name], GOOD)
    assert end.scores == SCORES
    assert (end.spent.requests, end.spent.retries) == (3, 2)
    assert len(pauses) == 2
    first, second, third = running.received
    assert first.body == second.body == third.body


@pytest.mark.parametrize("name", BROKEN)
def test_after_three_broken_replies_the_score_is_missing(name: str) -> None:
    end, running, pauses = asked(BROKEN[name])
    assert end.scores is None
    assert end.why
    assert len(running.received) == TRIES
    assert len(pauses) == TRIES - 1


def test_a_server_that_is_slower_than_the_timeout_is_asked_again() -> None:
    end, running, _ = asked(server.never_answers, GOOD, timeout_s="0.2")
    assert end.scores == SCORES
    assert len(running.received) == 2


INVALID: dict[str, tuple[Behaviour, str]] = {
    "out of range": (says(scores(9, 4, 3, 2)), "appearance is 9"),
    "a half": (says(scores(4.5, 4, 3, 2)), "appearance is 4.5"),
    "a word": (says(scores(5, 4, 3, 2).replace("2}", '"two"}')), "scene is 'two', which is no number"),
    "an extra key": (says(scores(5, 4, 3, 2).replace("}", ', "reason": "x"}')), "must be exactly"),
    "half JSON in the text": (says('{"appearance": 5', "length"), "it was cut off at its longest"),
    "a refusal": (says("I cannot help with that."), "not one JSON object"),
    "no text": (says(None), "no JSON object"),
    "a filter": (says(scores(5, 4, 3, 2), "content_filter"), "withheld by a content filter"),
    "a filter with status 400": (fails(400, b'{"error": {"code": "content_filter"}}'), "withheld by a content filter"),
}


@pytest.mark.parametrize("name", INVALID)
def test_an_invalid_answer_is_asked_again_with_what_is_wrong_with_it(name: str) -> None:
    behaviour, wrong = INVALID[name]
    end, running, pauses = asked(behaviour, GOOD)
    assert end.scores == SCORES
    assert pauses == []
    first, second = (received.body["messages"] for received in running.received)
    assert second[:2] == first
    assert [turn["role"] for turn in second[2:]] == ["assistant", "user"]
    assert wrong in second[3]["content"]
    assert second[2]["content"]


@pytest.mark.parametrize("name", INVALID)
def test_after_three_invalid_answers_the_score_is_missing_and_says_why(name: str) -> None:
    behaviour, wrong = INVALID[name]
    end, running, _ = asked(behaviour)
    assert end.scores is None
    assert wrong in end.why
    assert [len(received.body["messages"]) for received in running.received] == [2, 4, 4]


def test_tries_of_both_kinds_are_counted_together() -> None:
    end, running, _ = asked(fails(500), says("no"), fails(500), GOOD)
    assert end.scores is None
    assert len(running.received) == TRIES


def test_a_server_that_refuses_response_format_is_asked_without_it_from_then_on() -> None:
    def behave(_: int, body: Mapping[str, object]) -> Behaviour:
        return fails(400, b'{"error": "unknown parameter"}') if "response_format" in body else GOOD

    with serving(behave) as running:
        asking = Asking(running.url)
        assert asking().scores == asking().scores == SCORES
        assert ["response_format" in received.body for received in running.received] == [True, False, False]


def unused_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def test_a_server_that_is_not_there_is_told_from_one_that_answers() -> None:
    end = Asking(f"http://127.0.0.1:{unused_port()}/v1")()
    assert (end.scores, end.reached) == (None, False)
    assert asked(fails(500))[0].reached


HOPELESS: dict[str, tuple[Behaviour, str]] = {
    "401": (server.echoes_the_key(401), r"refused the key for model 'a-model' \(HTTP 401\); set ECHO_MATRIX_JUDGE_KEY"),
    "403": (server.echoes_the_key(403), r"refused the key for model 'a-model' \(HTTP 403\)"),
    "404": (server.echoes_the_key(404), r"no model 'a-model', or no /chat/completions under ECHO_MATRIX_JUDGE_URL"),
    "302": (fails(302, Location="http://127.0.0.1:9/v1"), r"redirects \(HTTP 302\), which is not followed"),
    "400": (server.echoes_the_key(400), r"HTTP 400: .*provided: Bearer \*\*\*.*takes several images"),
    "422": (fails(422, b"no images"), r"HTTP 422: 'no images'"),
}


@pytest.mark.parametrize("name", HOPELESS)
def test_what_no_try_can_mend_is_said_at_once_without_the_key(name: str) -> None:
    behaviour, message = HOPELESS[name]
    with pytest.raises(BadInput, match=message) as raised:
        asked(behaviour)
    assert KEY not in str(raised.value)


def test_pauses_double_are_jittered_and_bounded() -> None:
    jitter = random.Random("pauses")
    for attempt in range(20):
        pauses = [pause_s(attempt, None, jitter) for _ in range(50)]
        low, high = (min(2.0**attempt * (1 + sign * JITTER), LONGEST_PAUSE_S) for sign in (-1, 1))
        assert low <= min(pauses) <= max(pauses) <= high
        assert len(set(pauses)) > 1 or low == LONGEST_PAUSE_S


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (lambda: "0.01", 0.01),
        (lambda: "100000", LONGEST_PAUSE_S),
        (lambda: format_datetime(datetime.now(UTC) + timedelta(days=1)), LONGEST_PAUSE_S),
        (lambda: format_datetime(datetime.now(UTC) - timedelta(days=1)), 0.0),
    ],
)
def test_the_server_may_say_how_long_to_wait_in_seconds_or_as_a_date(
    header: Callable[[], str], expected: float
) -> None:
    _, _, pauses = asked(fails(429, Retry_After=header()), GOOD)
    assert pauses == [expected]


@pytest.mark.parametrize("header", ["soon", "nan", "inf", "", "Mon, 01 Jan 99999999999999999999 00:00:00 GMT"])
def test_a_retry_after_that_says_nothing_is_as_none(header: str) -> None:
    _, _, pauses = asked(fails(429, Retry_After=header), GOOD)
    assert pauses == [pause_s(0, None, random.Random("question"))]


def test_asked_to_end_it_gives_up_between_tries_and_scores_nothing() -> None:
    with serving(in_turn(fails(500))) as running:
        asking = Asking(running.url)
        asking.stop = True
        end = asking()
        assert (end.stopped, end.scores, len(running.received)) == (True, None, 1)


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({}, "ECHO_MATRIX_JUDGE_URL is not set, and the judge vlm asks an OpenAI-compatible endpoint; set it"),
        ({"ECHO_MATRIX_JUDGE_URL": f"https://me:{KEY}@judge/v1"}, "holds a user or a password; give the URL without"),
        ({"ECHO_MATRIX_JUDGE_URL": f"https://{KEY}@judge/v1"}, "holds a user or a password"),
        ({"ECHO_MATRIX_JUDGE_URL": f"https://judge/v1?key={KEY}"}, "has a query or a fragment"),
        ({"ECHO_MATRIX_JUDGE_URL": "judge:8000/v1"}, "is no URL of a server; allowed: http or https"),
        ({"ECHO_MATRIX_JUDGE_URL": "http://judge:99999/v1"}, "is no URL of a server"),
        ({"ECHO_MATRIX_JUDGE_URL": "file:///etc/passwd"}, "is no URL of a server; allowed: http or https"),
        ({"ECHO_MATRIX_JUDGE_URL": "ftp://judge/v1"}, "is no URL of a server"),
        ({"ECHO_MATRIX_JUDGE_KEY": f"{KEY}\nX-Other: 1"}, "ECHO_MATRIX_JUDGE_KEY holds a character that no header"),
        ({"ECHO_MATRIX_JUDGE_CONCURRENCY": "0"}, "CONCURRENCY is '0'; allowed: a whole number, 1..256"),
        ({"ECHO_MATRIX_JUDGE_CONCURRENCY": "4.5"}, "CONCURRENCY is '4.5'; allowed: a whole number"),
        ({"ECHO_MATRIX_JUDGE_TIMEOUT_S": "nan"}, "TIMEOUT_S is 'nan'; allowed: seconds"),
    ],
)
def test_an_endpoint_that_cannot_be_used_is_refused_without_repeating_a_secret(
    environment: Mapping[str, str], message: str
) -> None:
    good = {} if not environment else {"ECHO_MATRIX_JUDGE_URL": "http://judge/v1"}
    with pytest.raises(BadInput, match=message) as raised:
        endpoint_from({**good, **environment}, {})
    assert KEY not in str(raised.value)


def test_the_url_may_come_from_the_clusters_paths_and_the_key_is_not_shown() -> None:
    endpoint = endpoint_from({"ECHO_MATRIX_JUDGE_KEY": KEY}, {"judge_url": "http://judge:8000/v1/"})
    assert endpoint.url == "http://judge:8000/v1"
    assert KEY not in repr(endpoint)
    assert endpoint_from({}, {"judge_url": "http://judge/v1"}).key is None
    with pytest.raises(BadInput, match=r"paths\.judge_url holds a user or a password"):
        endpoint_from({}, {"judge_url": "http://me:secret@judge/v1"})
