"""Drivers come and go over a SLURM: one attempt of the training is taken up by all of them and runs once."""

import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest
from proof import Proof
from slurm_site import Site
from slurm_study import TRAIN, SlurmStudy, wait_until
from test_two_drivers import stop_between_transactions
from victims import Family

from orchestrator.schedule.lease_holder import read_holder

ELSEWHERE = ("unshare", "--uts", "--pid", "--fork", "--mount-proc", "sh", "-c", 'hostname other; exec "$0" "$@"')
"""Another login node, as far as one machine can be one: its name, and processes that cannot be looked at from here."""


def text(study: SlurmStudy, name: str) -> str:
    return (study.home / name).read_text(encoding="utf-8")


def drives(study: SlurmStudy, host: str, pid: int | None = None) -> bool:
    holder = read_holder(study.folder)
    return holder is not None and holder.host == host and pid in (None, holder.pid)


@pytest.mark.parametrize(
    ("quick", "asleep_s"), [(True, 0.0), pytest.param(False, 180.0, marks=pytest.mark.long)], ids=["quick", "as users"]
)
def test_drivers_that_are_killed_leave_sleep_and_move_hand_one_attempt_on(
    study: SlurmStudy, reference: Proof, reference_folder: Path, site: Site, quick: bool, asleep_s: float
) -> None:
    study = replace(study, quick=quick)
    study.begin_from(reference_folder)
    here = Path("/proc/sys/kernel/hostname").read_text(encoding="ascii").strip()
    full = site.call("sbatch", "--parsable", "-n", "8", "-o", "/dev/null", "--wrap", "sleep 600")
    wait_until(lambda: site.state(full) == "RUNNING", "the job that takes all there is")

    # Killed between sbatch and the ticket: found by its name, not submitted again.
    faults = study.home / "faults"
    faults.mkdir()
    (faults / "submit.answered").write_text("kill", encoding="ascii")
    with (study.home / "1.txt").open("wb") as output:
        assert replace(study, faults=faults).start(output).wait(timeout=60) == -signal.SIGKILL
    (only,) = study.attempts(TRAIN)
    assert only.ticket == ""
    # Its successor begins while slurmctld is away (killed, it would forget the job of a second ago): it waits.
    site.daemon("slurmctld", "stop")
    with (study.home / "2.txt").open("wb") as output:
        second = study.start(output)
    wait_until(lambda: "nothing is known of 1 attempt (squeue" in text(study, "2.txt"), "a word of the silence")
    site.daemon("slurmctld", "start")
    why = "Resources: no node has what it asks for free (SLURM job"
    wait_until(lambda: why in study.call("status").stdout, "why the training waits")
    assert why in study.call("explain", TRAIN).stdout
    site.call("scancel", full)

    with study.frozen(0) as training:
        # Killed, and followed by one on another login node, which cannot look at its process.
        second.kill()
        second.wait()
        with (study.home / "3.txt").open("wb") as output:
            third = study.start(output, *ELSEWHERE)
        wait_until(lambda: drives(study, "other") and len(study.logged("adopted")) == 2, "the driver elsewhere")
        inner = int(Path(f"/proc/{third.pid}/task/{third.pid}/children").read_text(encoding="ascii").split()[0])

        # Asleep for longer than a driver may be, and followed: it finds itself replaced, and acts no more.
        stop_between_transactions(Sleeper(inner), study.folder)
        with (study.home / "4.txt").open("wb") as output:
            fourth = study.start(output)
        wait_until(lambda: drives(study, here, fourth.pid) and len(study.logged("adopted")) == 3, "its successor")
        time.sleep(asleep_s)
        Sleeper(inner).send_signal(signal.SIGCONT)
        assert third.wait(timeout=60) == 1
        assert "no longer holds the lease" in text(study, "3.txt")
        assert drives(study, here, fourth.pid)

        # Told to end, as a driver that is a SLURM job itself is at its limit: the attempt goes on.
        fourth.send_signal(signal.SIGTERM)
        assert fourth.wait(timeout=60) == 130
        assert "attempts that continue: 1; `run` adopts them" in text(study, "4.txt")
        assert study.endings(TRAIN) == [None] and study.job_of(TRAIN)

        began = time.monotonic()
        detached = study.call("run", "--detach")
        assert detached.returncode == 0, detached.stdout + detached.stderr
        assert "is running the study;" in detached.stdout and time.monotonic() - began < 60
    assert training.attempt == only.id
    wait_until(lambda: not Family(study.home).living(), "the end of the detached driver")

    assert study.wrongs(reference) == []
    assert study.endings(TRAIN) == ["ok"]
    names = site.call("sacct", "-nXP", "-o", "jobname").splitlines()
    assert [one for one in names if one.endswith(only.id)] == [f"em:echo-memory:{TRAIN}:{only.id}"]


class Sleeper:
    """A process that is not ours, with the method of `Popen` that stops and continues it."""

    def __init__(self, pid: int) -> None:
        self._pid = pid

    def send_signal(self, number: int) -> None:
        os.kill(self._pid, number)
