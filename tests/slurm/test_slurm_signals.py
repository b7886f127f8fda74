"""SLURM's limit of time: signalled ahead, saved, continued; and a limit into which no step fits is called that."""

from dataclasses import replace
from pathlib import Path

from proof import Proof
from slurm_site import Site
from slurm_study import TRAIN, SlurmStudy, wait_until

from orchestrator.schedule.ledger.database import NAME, Ledger


def let_its_time_run_out(site: Site, study: SlurmStudy) -> None:
    """The limit comes near: SLURM sends what `--signal` says."""
    site.call("scontrol", "update", f"JobId={study.job_of(TRAIN)}", "EndTime=now+60")


def test_an_attempt_whose_time_runs_out_saves_and_goes_on_and_a_limit_without_progress_is_named(
    study: SlurmStudy, reference: Proof, reference_folder: Path, site: Site
) -> None:
    study = replace(study, error=0)
    study.begin_from(reference_folder)
    with (study.home / "output.txt").open("wb") as output:
        driver = study.start(output)

    # Got further: it costs nothing, and the next attempt begins where this one saved.
    with study.frozen(0) as training:
        let_its_time_run_out(site, study)
        # SLURM continues what stands still along with its signal.
        wait_until(lambda: training.asked() or study.endings(TRAIN) != [None], "the signal ahead of the limit")
    wait_until(lambda: len(study.attempts(TRAIN)) == 2, "the next attempt")
    first, second = study.attempts(TRAIN)
    assert (first.ending, first.step) == ("timed_out", second.begun) and first.step > 0
    assert first.detail.startswith("SIGUSR2 ahead of the job's limit: ")
    with Ledger.read(study.folder / NAME) as ledger:
        assert ledger.charges(first.fingerprint).error == 0

    # A step that takes longer than the limit.
    with study.frozen(1, beyond=-1) as training:
        let_its_time_run_out(site, study)

        def ended() -> bool:
            training.stand_still()
            return study.endings(TRAIN)[1:] == ["timed_out"]

        wait_until(ended, "the limit", look_s=0.02)
    assert driver.wait(timeout=60) == 1
    said = (study.home / "output.txt").read_text(encoding="utf-8")
    assert "ran into its time limit without progress; no retry is allowed" in said
    assert "no checkpoint fits into the limit: raise resources.STAGE.minutes" in said
    assert "no checkpoint fits into the limit" in study.call("explain", TRAIN).stdout

    # The remedy, whatever it was, and again.
    assert study.call("retry", TRAIN).returncode == 0
    done = study.call("run")
    assert done.returncode == 0, done.stdout + done.stderr
    assert study.endings(TRAIN) == ["timed_out", "timed_out", "ok"]
    assert study.attempts(TRAIN)[2].begun == second.begun
    assert study.wrongs(reference) == []
