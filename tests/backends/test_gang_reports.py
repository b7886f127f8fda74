"""What the hosts of one attempt get, and one report from theirs."""

import time
from typing import Any

import pytest

from orchestrator.backends.ray.gang import GangReports, shares_of


def test_a_share_is_what_one_host_gets() -> None:
    raw = {
        "attempt": "a",
        "resources": {"cpus": 4, "memory_gib": 8.0},
        "placement": {
            "host": "left",
            "cpus": 2,
            "devices": (0,),
            "others": ({"host": "right", "cpus": 2, "devices": (3,), "others": ()},),
        },
    }
    first, second = shares_of(raw)
    assert first["placement"] == {"host": "left", "cpus": 2, "devices": (0,), "others": ()}
    assert second["placement"]["devices"] == (3,) and second["resources"]["memory_gib"] == 4.0
    assert second["node"] == {"node": 1, "nodes": 2, "names": ("left", "right")}
    alone = {**raw, "placement": second["placement"]}
    assert shares_of(alone) == [alone], "of one host it stays as it is"


def made(phase: str, ending: str | None = None, detail: str = "", **more: Any) -> dict[str, Any]:
    return {"attempt": "a", "phase": phase, "ending": ending, "detail": detail, **more}


@pytest.mark.parametrize(
    ("shares", "lost", "phase", "told"),
    [
        ([made("running"), made("running")], {}, "running", None),
        ([made("running"), made("unknown")], {}, "running", None),
        ([made("running"), made("ended", "ok")], {}, "running", None),
        ([made("ended", "ok"), made("running")], {}, "ended", "ok"),
        ([made("ended", "error", failed_on="r"), made("running")], {}, "running", None),
        ([made("ended", "error", failed_on="r"), made("ended", "interrupted")], {}, "ended", "error"),
        ([made("ended", "node_lost"), made("ended", "preempted", "taken")], {1: "right"}, "ended", "preempted"),
        ([made("ended", "out_of_memory"), made("ended", "node_lost")], {1: "right"}, "ended", "out_of_memory"),
        ([made("ended", "node_lost"), made("ended", "interrupted")], {0: "left"}, "ended", "node_lost"),
        ([made("ended", "node_lost"), made("ended", "bad_input")], {0: "left"}, "ended", "bad_input"),
    ],
)
def test_an_attempt_has_ended_when_all_its_shares_have_and_as_the_one_that_explains_it(
    shares: list[dict[str, Any]], lost: dict[int, str], phase: str, told: str | None
) -> None:
    report = GangReports().report("a", shares, lost)
    assert (report["phase"], report.get("ending")) == (phase, told)


def test_a_share_out_of_reach_is_not_waited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    reports, now = GangReports(), 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    shares = [made("ended", "node_lost", failed_on="right"), made("unknown")]
    assert reports.report("a", shares, {})["phase"] == "running"
    now = 106.0
    assert reports.report("a", shares, {})["failed_on"] == "right"


def test_where_all_hosts_are_lost_none_is_charged() -> None:
    shares = [made("ended", "node_lost"), made("ended", "node_lost")]
    assert GangReports().report("a", shares, {0: "left", 1: "right"})["failed_on"] == ""
    assert GangReports().report("a", shares, {1: "right"})["failed_on"] == "right"
