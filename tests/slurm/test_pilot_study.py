"""The study in pilot jobs that are cancelled, under drivers that are killed, has the bytes that it has under Ray."""

from dataclasses import replace
from pathlib import Path

import pytest
from proof import Proof
from slurm_site import Site
from slurm_study import TRAIN, SlurmStudy, wait_until
from victims import Family

from orchestrator.backends.slurm.core.backend import QUEUE
from orchestrator.schedule.ledger.database import NAME, Ledger

PILOT = "{stages: [train, evaluate], nodes: 1, cpus: 3, memory_gib: 6, minutes: 30, allocations: 1}"


@pytest.mark.long
def test_pilot_jobs_and_drivers_die_and_the_study_has_the_same_bytes(
    study: SlurmStudy, reference: Proof, reference_folder: Path, site: Site
) -> None:
    study = replace(study, pilot=PILOT, idle_s=10.0)
    study.begin_from(reference_folder)
    with (study.home / "1.txt").open("wb") as output:
        first = study.start(output)
    with study.frozen(0):
        lost = study.job_of("pilot")
        site.call("scancel", lost)
        wait_until(lambda: study.endings(TRAIN)[:1] == ["interrupted"], "the end of what ran in the pilot job")
    with study.frozen(1, beyond=study.step()) as training:
        assert study.job_of("pilot") not in ("", lost)
        first.kill()
        first.wait()
        with (study.home / "2.txt").open("wb") as output:
            second = study.start(output)
        wait_until(lambda: len(study.logged("adopted")) == 1, "the next driver to take the training up")
    assert second.wait(timeout=180) == 0, (study.home / "2.txt").read_text(encoding="utf-8")
    assert study.endings(TRAIN) == ["interrupted", "ok"]
    assert study.attempts(TRAIN)[1].id == training.attempt and study.attempts(TRAIN)[1].begun > 0
    with Ledger.read(study.folder / NAME) as ledger:
        jobs_of_slurm = {attempt.stage for attempt in ledger.attempts() if attempt.host == QUEUE}
    assert jobs_of_slurm == {"judge", "camera"}
    wait_until(lambda: not study.job_of("pilot"), "the end of a pilot job that nobody needs")
    wait_until(lambda: not Family(study.home).living(), "the end of its processes", within_s=10.0)
    assert study.wrongs(reference) == []
