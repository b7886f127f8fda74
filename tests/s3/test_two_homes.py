"""Two homes, one bucket, at the same time: run, gc and refresh, in an order that is drawn; some are killed."""

import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from s3_servers import Service
from two_homes import GC, LONGER, RUN, Called, Journal, call

from orchestrator.opening import open_study
from orchestrator.plan.select import select
from orchestrator.store.protocol import Store
from orchestrator.store.registry import make_store

SCRIPT = Path(__file__).with_name("two_homes.py")
HOMES = ("one", "two")
SHORT, LONG = 4, 40
"""Commands of each home."""
REFUSALS = (
    "is running this study; wait for it, or stop it there with `echo-matrix stop`",
    "which has just taken over, is running this study",
    "the study was run while `gc` was searching; nothing was removed, run `gc` again",
)
"""What the home is told that must wait; exit code 1."""


class TwoHomes:
    """A bucket, and two homes that share it."""

    def __init__(self, folder: Path, service: Service, root: Path) -> None:
        self.folder, self.matrix = folder, root / "matrix.yaml"
        self.journal = Journal(folder / "journal.jsonl")
        self.location = service.location(folder / "seen")
        self.clusters = {name: self._cluster(name) for name in HOMES}

    def _cluster(self, name: str) -> Path:
        place, path = self.location, self.folder / f"{name}.yaml"
        store = f"{{kind: s3, url: {place.url}, endpoint: '{place.endpoint}', region: {place.region}, "
        store += f"cache: '{self.folder / name / 'cache'}'}}"
        path.write_text(f"backend: fake\ntracking: {{kind: none}}\nstore: {store}\n", encoding="utf-8")
        return path

    def at_once(self, seed: int, commands: int, *, kills: bool) -> None:
        """Let both homes run commands."""
        environment = {**os.environ, "ECHO_MATRIX_FAKE_S": "0.05"}
        homes = [
            subprocess.Popen(
                [
                    *(sys.executable, str(SCRIPT), str(self.folder / name), str(self.clusters[name])),
                    *(str(self.matrix), str(2 * seed + place), str(commands), str(int(kills))),
                    str(self.folder / "journal.jsonl"),
                ],
                env=environment,
            )
            for place, name in enumerate(HOMES)
        ]
        assert [home.wait() for home in homes] == [0, 0]

    def call(self, name: str, *words: str) -> Called:
        """Run a command in one home."""
        given = ("--matrix", str(self.matrix), "--cluster", str(self.clusters[name]))
        return call(self.folder / name, given, words, self.journal)

    def called(self) -> list[Called]:
        """All commands, in the order in which they ended."""
        return sorted((Called(**line) for line in self.journal.read("called")), key=lambda one: one.ended)

    def store(self) -> Store:
        """The store as it is now."""
        study = open_study(self.matrix, cluster=self.clusters["one"])
        return make_store(study.store_location)

    def asked(self, *overrides: str) -> dict[str, str]:
        """Fingerprint -> label of what a run asks for."""
        study = open_study(self.matrix, overrides=overrides, cluster=self.clusters["one"])
        wanted = select(study.plan, rows="context-k1", branches="loop")
        return {study.plan.jobs[job].fingerprint: study.plan.jobs[job].label for job in wanted}


@pytest.fixture
def homes(tmp_path: Path, seaweed_service: Service, root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TwoHomes]:
    monkeypatch.setenv("ECHO_MATRIX_HOME", str(tmp_path / "one"))
    monkeypatch.setenv("ECHO_MATRIX_FAKE_S", "0")
    yield TwoHomes(tmp_path, seaweed_service, root)


def wrong_endings(called: list[Called]) -> list[str]:
    """Commands that ended otherwise than well, refused in a sentence, or killed."""
    found = []
    for one in called:
        refused = one.code == 1 and any(text in one.said for text in REFUSALS)
        if not (one.code in (0, -9) or refused) or "Traceback" in one.said:
            found.append(f"{one.home}: {' '.join(one.words)} ended with {one.code}: {one.said[-2000:]}")
    return found


def both_held(homes: TwoHomes, called: list[Called]) -> list[str]:
    """Times at which two processes held the lease in the store."""
    released = {(line["pid"], line["number"]): line["at"] for line in homes.journal.read("released")}
    held = []
    for line in homes.journal.read("held"):
        until = released.get((line["pid"], line["number"]))
        if until is None:  # it was killed
            own = [one.ended for one in called if one.home == line["home"] and one.began < line["at"] < one.ended]
            until = own[0] if own else line["at"]
        held.append((line["at"], until, line["number"]))
    held.sort()
    return [f"{first} and {second}" for first, second in itertools.pairwise(held) if second[0] < first[1]]


def missing(homes: TwoHomes, called: list[Called], committed: frozenset[str]) -> list[str]:
    """What the last run of a home has asked for and made, and nobody refreshed since, that is gone."""
    found = []
    for name in HOMES:
        runs = [one for one in called if Path(one.home).name == name and one.words[0] == "run"]
        ran = [one for one in runs if one.code != 1]
        if not ran or ran[-1].code != 0:
            continue
        last = ran[-1]
        asked = homes.asked(*([LONGER] if LONGER in last.words else []))
        again = {f"{name}/context-k1/s0" for name in ("train", "evaluate/loop", "judge/loop", "camera/loop")}
        refreshed = LONGER not in last.words and any(
            "--refresh" in one.words and one.ended > last.began and one is not last for one in called
        )
        found += [
            f"{name}: {label} is gone"
            for fingerprint, label in asked.items()
            if fingerprint not in committed and not (refreshed and label in again)
        ]
    return found


def check(homes: TwoHomes) -> None:
    """What holds however the commands of both homes met."""
    called = homes.called()
    assert wrong_endings(called) == []
    assert both_held(homes, called) == []
    assert missing(homes, called, homes.store().commits()) == []
    for name in HOMES:
        done = homes.call(name, *RUN)
        assert done.code == 0, done.said
        assert "7 done" in done.said or "all 7 jobs are done" in done.said
    assert set(homes.asked()) <= homes.store().commits()
    for name in HOMES:
        done = homes.call(name, *GC, "--made-by", "unknown") if name == "two" else homes.call(name, *GC)
        assert done.code == 0, done.said
    store = homes.store()
    assert store.objects is not None
    attempts = {(store.read(one).stage, one[:16], store.read(one).attempt) for one in store.commits()}
    stored = {(one.stage, one.digits, one.attempt) for one in store.artifacts()}
    assert stored == attempts, "every commit record has its artifact, and nothing else is there"
    assert set(homes.asked()) <= store.commits()
    assert list(store.withdrawn()) == []
    assert len({entry.key.partition(".")[0] for entry in store.objects.entries("lease/")}) == 1
    for name in HOMES:
        assert "nothing to do" in homes.call(name, *RUN).said


def test_two_homes_run_collect_and_refresh_at_the_same_time_and_lose_nothing(homes: TwoHomes) -> None:
    homes.at_once(seed=3, commands=SHORT, kills=False)
    check(homes)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(4))
def test_two_homes_go_on_for_long_and_some_of_their_commands_are_killed(homes: TwoHomes, seed: int) -> None:
    homes.at_once(seed=100 + seed, commands=LONG, kills=seed % 2 == 1)
    check(homes)
