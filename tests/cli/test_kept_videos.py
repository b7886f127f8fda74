"""`keep_videos_gib`: which videos `gc` removes, and what a study without some of its videos still can do."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from rehearsal import CLUSTER, Rehearsal

from orchestrator.commands.gc.kept_results import KeptResults
from orchestrator.commands.gc.kept_videos import FoundVideos, find_videos, to_be_made_again
from orchestrator.commands.refresh import find_made_again, withdraw
from orchestrator.errors import ArtifactMissing
from orchestrator.host.machine import GIB
from orchestrator.opening import open_study
from orchestrator.plan.growth import FinishedItems
from orchestrator.plan.job import Job
from orchestrator.schedule.recognition import recognise
from orchestrator.store.protocol import Commit
from orchestrator.store.removed import without_videos
from orchestrator.study import Study

ROWS = ("context-k1", "context-k5")
OLDER, NEWER = (f"evaluate/return/{row}/s0" for row in ROWS)
SIZE = 1000
"""Bytes of a video; each evaluation has two."""
OTHER_JUDGE = "controls.judge.tail_frames=3"
FEWER = "branches.return.cases=12"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("videos")


@pytest.fixture(autouse=True)
def home(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ECHO_MATRIX_HOME", str(folder))


@pytest.fixture(scope="module")
def rehearsal(folder: Path) -> Iterator[Rehearsal]:
    """Two rows on one branch, all done; each test goes on with what those before it have left."""
    made = Rehearsal(folder)
    done = made.call("run", "--rows", ",".join(ROWS), "--branches", "return")
    assert done.returncode == 0, done.stderr
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ECHO_MATRIX_HOME", str(folder))
        study = opened(made)
        for number, label in enumerate((OLDER, NEWER)):
            own = {f"frames/{case}.mkv": bytes([number, case]) * (SIZE // 2) for case in (0, 1)}
            publish(study, job_of(study, label), own, ended=float(number))
            for stage in ("judge", "camera"):  # they have read the artifact with videos
                publish(study, job_of(study, label.replace("evaluate", stage)), {}, ended=9.0)
    yield made


def publish(study: Study, job: Job, files: dict[str, bytes], ended: float, attempt: str = "a900-x") -> None:
    """Commit a finished job once more, with these files beside those that it has."""
    store, old = study.store, study.store.read(job.fingerprint)
    text = (store.fetch(job.fingerprint) / "fake.txt").read_bytes()
    store.withdraw(job.fingerprint)
    folder = store.prepare(job.stage, job.fingerprint, attempt)
    for name, content in {"fake.txt": text, **files}.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    inputs = {
        stage: {"fingerprint": read["fingerprint"], "manifest": store.read(read["fingerprint"]).manifest}
        for stage, read in old.inputs.items()
    }
    assert store.commit(replace(old, attempt=attempt, manifest="", inputs=inputs, ended=ended), folder)


def opened(rehearsal: Rehearsal, *overrides: str) -> Study:
    return open_study(Path("matrix.yaml"), cluster=rehearsal.folder / "fake.yaml", overrides=overrides, rows=ROWS)


def job_of(study: Study, label: str) -> Job:
    return next(job for job in study.plan.jobs.values() if job.label == label)


def found(study: Study, keep_gib: float | None, *read: str) -> FoundVideos:
    """What `gc` finds where open jobs read the videos of `read`."""
    stored = {(one.stage, one.digits, one.attempt): one for one in study.store.artifacts()}
    study = study.changed(cluster=replace(study.cluster, keep_videos_gib=keep_gib))
    return find_videos(study, kept_of(study, *read), stored)


def removable(study: Study, keep_gib: float | None, *read: str) -> list[str]:
    """Labels of the jobs whose videos go."""
    return [one.commit.label for one in found(study, keep_gib, *read).removable]


def kept_of(study: Study, *read: str) -> KeptResults:
    """What `gc` decides where all jobs of the plan are wanted."""
    commits = study.store.commits()
    nothing: frozenset[str] = frozenset()
    return KeptResults(
        here=commits,
        wanted=commits | {job.fingerprint for job in study.plan.jobs.values()},
        kept=commits,
        removable=nothing,
        released=nothing,
        unknown=False,
        apart=(),
        last=1,
        forgettable=(),
        read=frozenset(job_of(study, label).fingerprint for label in read),
    )


def test_the_oldest_that_no_open_job_reads_go_until_the_rest_is_within_the_bound(rehearsal: Rehearsal) -> None:
    study = opened(rehearsal)
    assert removable(study, None) == [], "all are kept where nothing is said"
    assert removable(study, 4 * SIZE / GIB) == []
    assert removable(study, 2 * SIZE / GIB) == [OLDER]
    assert removable(study, 0.0) == [OLDER, NEWER]
    assert removable(study, 2 * SIZE / GIB, OLDER) == [NEWER]
    assert removable(study, 0.0, OLDER, NEWER) == []
    assert [found(study, 0.0, *read).left for read in ((), (OLDER,), (OLDER, NEWER))] == [0, 2 * SIZE, 4 * SIZE]


def test_what_two_jobs_share_on_the_disk_is_free_once_both_are_without_it(rehearsal: Rehearsal) -> None:
    study = opened(rehearsal, FEWER)
    fewer = [job_of(study, label) for label in (OLDER, NEWER)]
    assert len(recognise(fewer, FinishedItems(study.store.commits(), study.store.read), study.store)) == 2
    assert removable(study, 4 * SIZE / GIB) == []
    assert removable(study, 3 * SIZE / GIB) == [OLDER, NEWER, OLDER], "those of fewer cases ended last"
    for job in fewer:
        study.store.withdraw(job.fingerprint)


def test_a_finished_study_without_some_of_its_videos_is_finished(rehearsal: Rehearsal) -> None:
    study = opened(rehearsal)
    evaluated = job_of(study, OLDER).fingerprint
    commits, revision = study.store.commits(), study.store.revision()
    (rehearsal.folder / "fake.yaml").write_text(f"{CLUSTER}keep_videos_gib: {2 * SIZE / GIB}\n", encoding="utf-8")
    listed = rehearsal.call("gc", "--yes")
    assert "more than keep_videos_gib" not in listed.stdout
    assert f"videos (keep_videos_gib is 1.86265e-06): {OLDER}" in listed.stdout and NEWER not in listed.stdout
    study = opened(rehearsal)
    for label, number in ((OLDER, 0), (NEWER, 2)):
        assert len(list(study.store.fetch(job_of(study, label).fingerprint).glob("frames/*"))) == number
    assert (study.store.commits(), study.store.revision()) == (commits, revision)
    assert study.store.verify(evaluated).is_dir() and len(study.store.manifest(evaluated)) == 3
    assert removable(study, 2 * SIZE / GIB) == [], "what is gone is not counted"
    now = study.standings()
    assert all(now[job.id].state == "done" for job in study.plan.jobs.values() if job.fingerprint in commits)
    text = study.store.fetch(evaluated) / "fake.txt"
    content = text.read_bytes()
    text.unlink()
    with pytest.raises(ArtifactMissing, match=r"fake\.txt is gone"):
        study.store.fetch(evaluated)
    text.write_bytes(content)


def test_what_gc_was_cut_short_in_goes_the_next_time(rehearsal: Rehearsal) -> None:
    study = opened(rehearsal)
    frames = study.store.fetch(job_of(study, OLDER).fingerprint) / "frames"
    (frames / "0.mkv").write_bytes(bytes(SIZE))
    assert removable(study, 2 * SIZE / GIB) == [OLDER]
    study.store.remove_files(study.store.read(job_of(study, OLDER).fingerprint), ["frames/*"])
    assert not list(frames.iterdir())


def test_fewer_cases_of_such_a_study_are_done_and_have_no_videos_either(rehearsal: Rehearsal) -> None:
    study = opened(rehearsal, FEWER)
    job, commits, read = job_of(study, OLDER), study.store.commits(), study.store.read
    finished = FinishedItems(commits, read, lambda: without_videos(study.store.removed(), commits, read))
    assert recognise([job], finished, study.store) == {job.fingerprint}
    assert (job.fingerprint, study.store.read(job.fingerprint).attempt) in study.store.removed()


def test_more_cases_take_over_no_video_that_is_gone(rehearsal: Rehearsal) -> None:
    more = opened(rehearsal, "branches.return.cases=20", "controls.data.open_variants=5")
    now = more.standings()
    assert now[job_of(more, OLDER).id].reason.startswith(
        "20 of 20 cases are missing, the videos of 16 cases were removed by `gc`: branch.cases"
    )
    assert now[job_of(more, NEWER).id].reason.startswith("4 of 20 cases are missing: branch.cases")
    judged = more.growth()[job_of(more, OLDER.replace("evaluate", "judge")).id]
    assert not judged.taken and judged.removed == 16, "other videos may have other bits"


def test_another_judge_has_the_videos_made_again_and_all_else_stays(rehearsal: Rehearsal) -> None:
    study = opened(rehearsal, OTHER_JUDGE)
    now = study.standings()
    older, judge = job_of(study, OLDER), job_of(study, OLDER.replace("evaluate", "judge"))
    said = "the videos of 16 cases were removed by `gc`, and an open job reads them"
    assert (now[older.id].state, now[older.id].reason) == ("new", said)
    assert (
        now[job_of(study, NEWER).id].state == now[job_of(study, OLDER.replace("evaluate", "camera")).id].state == "done"
    )
    assert study.added_disk({older.id: now[older.id]})["videos"] > 0
    assert [one.label for one in find_made_again(study, [judge.id, older.id])] == [OLDER]
    assert find_made_again(study, [job_of(study, NEWER.replace("evaluate", "judge")).id]) == ()
    before: Commit = study.store.read(older.fingerprint)
    withdraw(study.home, study.store, find_made_again(study, [judge.id]))  # as a run that dies at once
    assert to_be_made_again(study, kept_of(study)) == {(older.fingerprint[:16], "a900-x")}
    done = rehearsal.call("run", "--rows", ",".join(ROWS), "--branches", "return", OTHER_JUDGE)
    assert done.returncode == 0, done.stderr
    study = opened(rehearsal, OTHER_JUDGE)
    assert study.store.read(older.fingerprint).attempt != before.attempt
    assert not to_be_made_again(study, kept_of(study))
    assert study.standings()[older.id].state == study.standings()[judge.id].state == "done"
    assert find_made_again(study, list(study.plan.jobs)) == ()
    assert study.store.read(job_of(study, NEWER).fingerprint).attempt == "a900-x"


def test_gc_tells_of_videos_that_stay_since_open_jobs_read_them(rehearsal: Rehearsal) -> None:
    other = ("--branches", "return", "controls.judge.tail_frames=2")
    stopped = rehearsal.call("run", "--rows", ",".join(ROWS), *other, "--limit", "1")
    assert "1 job did not start because of --limit 1" in stopped.stdout, stopped.stderr
    study = opened(rehearsal)
    publish(study, job_of(study, OLDER), {"frames/0.mkv": bytes(SIZE)}, ended=9.0, attempt="a901-x")
    (rehearsal.folder / "fake.yaml").write_text(f"{CLUSTER}keep_videos_gib: 0.0\n", encoding="utf-8")
    told = rehearsal.call("gc", "--dry-run").stdout
    assert "of videos, more than keep_videos_gib (0): open jobs read them; `run`, then `gc` again" in told
