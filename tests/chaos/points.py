"""Kill points: a study whose processes die at named places in the code, all armed at once, until each has fired.

See `workloads/runtime/fault_points.py`. A point of a driver ends it, and the next one goes on; a point of
a host or a rank costs an attempt.
"""

import subprocess
import time
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from proof import Proof, attempts_begun, differences, taken, wrongs
from rounds import Kill, Record
from s3_rounds import checkpointed, left_in_bucket, resumed_elsewhere
from small_study import SmallStudy
from victims import Family

from orchestrator.schedule.control import channel
from orchestrator.schedule.lease_holder import read_holder
from workloads.runtime.fault_points import POINTS

ELSEWHERE = {"ledger.migrating": "needs a ledger of an older version: tests/schedule/test_ledger.py"}
"""Points that no study of today comes by."""
IN_BUCKET = (
    "upload.files",
    "manifest.written",
    "commit.made",
    "checkpoint.uploaded",
    "checkpoint.downloaded",
    "fetch.verified",
    "publish.begun",
    "result.written",
)
"""Points around the calls of a store in a bucket; a file of this study is too small for a part."""
NOTE = "command.recorded"
LOOK_EVERY_S = 0.2
DRIVER_WITHIN_S = 600.0
LATER = {"checkpoint.uploaded"}
"""Points that are armed once the last job has a checkpoint in the bucket, so that the next machine needs it."""


def of_part(*parts: str) -> list[str]:
    """Names of the points in these parts (`driver`, `host`, `rank`), as the table tells them."""
    return sorted(name for name, where in POINTS.items() if where.startswith(parts) and name not in ELSEWHERE)


def play_points(
    study: SmallStudy, reference: Proof, names: Collection[str], *, jobs: int, kind: str = "points"
) -> Record:
    """Run `study` to its end with every point of `names` armed, then compare everything.

    A study in a bucket goes on in another home, with another cache, whenever its driver has died.

    Args:
        study: in an empty folder.
        reference: of the undisturbed run.
        names: of points.
        jobs: that the run commits.
        kind: for the record.
    """
    record, began = Record(seed=0, kind=kind), time.monotonic()
    faults = study.home.with_name(f"{study.home.name}-faults")
    faults.mkdir(parents=True)
    for name in sorted(set(names) - LATER):
        (faults / name).write_text("kill", encoding="ascii")
    waiting = set(names) & LATER
    study, output = replace(study, faults=faults), faults / "output.txt"
    try:
        code = -9
        while code == -9 and record.starts <= 2 * len(names):
            if record.starts and study.bucket is not None:
                Family(study.home).end()
                study = study.on_another_machine()
            with output.open("ab") as said:
                driver = study.start(said)
            record.starts += 1
            code = _ended(driver, study, faults, waiting, jobs)
        if code != 0:
            record.problems.append(f"`run` ended with {code}; it said: {output.read_text(errors='replace')[-3000:]}")
        else:
            record.problems += left_in_bucket(study)
            record.resumed = resumed_elsewhere(study)
            begun = attempts_begun(study)
            record.attempts, record.jobs = sum(begun.values()), len(begun)
            unfired = [name for name in names if not (faults / f"{name}.fired").exists()]
            record.problems += [f"no process came by {name!r}" for name in unfired]
            record.problems += differences(reference, taken(study)) + wrongs(study, jobs=jobs)
            if "nothing to do" not in study.call("run").stdout:
                record.problems.append("`run` again does not say that there is nothing to do")
            left = Family(study.home).living()
            record.problems += [f"process {one.pid} is left: {one.command[:120]}" for one in left.values()]
    finally:
        Family(study.home).end()
    record.seconds = round(time.monotonic() - began, 1)
    fired = sorted(faults.glob("*.fired"))
    record.kills = [Kill(victim=f"at `{path.stem}`", how="SIGKILL", at_s=0.0) for path in fired]
    return record


def _ended(driver: "subprocess.Popen[bytes]", study: SmallStudy, faults: Path, waiting: set[str], jobs: int) -> int:
    """The exit code of a driver; meanwhile the points in `waiting` are armed in time, and removed from it.

    It is given harmless notes while the point after a note is armed.
    """
    deadline, store, folder = time.monotonic() + DRIVER_WITHIN_S, study.store, study.folder
    while ((faults / NOTE).exists() or waiting) and driver.poll() is None and time.monotonic() < deadline:
        while waiting and len(store.commits()) == jobs - 1 and checkpointed(store):
            (faults / waiting.pop()).write_text("kill", encoding="ascii")
        holder = read_holder(folder) if (faults / NOTE).exists() else None
        if holder is not None and holder.pid == driver.pid and not list((folder / "inbox").glob("*.json")):
            channel.send(folder, "retry")
        time.sleep(LOOK_EVERY_S)
    return driver.wait(timeout=DRIVER_WITHIN_S)
