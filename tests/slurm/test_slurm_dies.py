"""Whatever dies of a SLURM, or takes a job away, while the study runs on it: the same bytes, and nothing done twice."""

import signal
from pathlib import Path

from proof import Proof
from slurm_site import Site
from slurm_study import TRAIN, SlurmStudy, processes_of_job, wait_until

from orchestrator.schedule.ledger.database import NAME, Ledger


def test_the_study_survives_all_that_can_be_done_to_its_jobs_and_to_slurm(
    study: SlurmStudy, reference: Proof, reference_folder: Path, site: Site
) -> None:
    study.begin_from(reference_folder)
    output = (study.home / "output.txt").open("wb")

    def said() -> str:
        return (study.home / "output.txt").read_text(encoding="utf-8")

    with output:
        driver = study.start(output)

    # scancel from outside.
    with study.frozen(0):
        site.call("scancel", study.job_of(TRAIN))
        wait_until(lambda: study.endings(TRAIN)[:1] == ["interrupted"], "the end of what was cancelled")

    # Put back into the queue: the same SLURM job is another attempt.
    with study.frozen(1, beyond=study.step()):
        number, step = study.job_of(TRAIN), study.step()
        site.call("scontrol", "requeue", number)
        wait_until(lambda: len(study.attempts(TRAIN)) == 3, "the attempt after the requeue")
    study.begin_again(number)
    second, third = study.attempts(TRAIN)[1:]
    assert third.id == f"{second.id}.r1" and third.ticket == second.ticket and second.ending == "preempted"
    assert second.begun > 0 and third.begun >= step, "each went on from the newest checkpoint"

    # While it runs, what is shown of it is the right attempt's.
    with study.frozen(2, beyond=study.step()) as training:
        assert training.attempt == third.id
        logged = study.call("logs", TRAIN).stdout
        assert f"attempt {third.id}, from" in logged and f"going on after step {third.begun}," in logged
        assert f"running    {TRAIN}" in study.call("status").stdout
        assert third.id in study.call("explain", TRAIN).stdout
        # A job of a partition of higher priority needs both nodes.
        short = site.call("sbatch", "--parsable", "-p", "short", "-n", "8", "-o", "/dev/null", "--wrap", "sleep 1")
        wait_until(lambda: "PreemptTime=2" in site.call("scontrol", "show", "job", number), "the preemption")
    wait_until(lambda: len(study.attempts(TRAIN)) == 4, "the attempt after the preemption")
    fourth = study.attempts(TRAIN)[3]
    assert study.endings(TRAIN)[2] == "preempted" and fourth.begun == study.attempts(TRAIN)[2].step > third.begun
    with Ledger.read(study.folder / NAME) as ledger:
        charges = ledger.charges(fourth.fingerprint)
    assert (charges.error, charges.vanished, charges.out_of_memory) == (0, 0, 0)
    wait_until(lambda: site.state(short) == "COMPLETED", "the job that preempted")

    # Its node dies, with all that runs on it.
    with study.frozen(3, beyond=study.step()):
        number = study.job_of(TRAIN)
        node = site.call("squeue", "--noheader", "--format=%N", f"--jobs={number}")
        step = study.step()
        site.daemon(node, "kill")
        for how in (signal.SIGSTOP, signal.SIGKILL):  # all at once: none is to tell of another's end
            for one in processes_of_job(site, number):
                one.signal(how)
        wait_until(lambda: len(study.attempts(TRAIN)) == 5, "the attempt on another node")
    study.begin_again(number)
    fifth = study.attempts(TRAIN)[4]
    assert (study.endings(TRAIN)[3], fifth.id) == ("node_lost", f"{fourth.id}.r1")
    assert fifth.begun >= step

    # slurmctld dies, and the training ends meanwhile; then sacct has nobody to ask.
    with study.frozen(4, beyond=study.step()):
        site.daemon(node, "start")  # not before: SLURM would end there what it has just begun again
        site.daemon("slurmctld", "kill")
    wait_until(lambda: TRAIN in study.committed(), "the training's COMMIT")
    wait_until(lambda: "nothing can be started (squeue" in said(), "a word of the silence")
    site.daemon("slurmctld", "start")
    site.daemon("slurmdbd", "kill")
    wait_until(lambda: any(label.startswith("judge/") for label in study.committed()), "a judging")
    site.daemon("slurmdbd", "start")

    assert driver.wait(timeout=180) == 0, said()
    assert study.wrongs(reference) == []
    assert study.endings(TRAIN) == ["interrupted", "preempted", "preempted", "node_lost", "ok"]
    assert "the backend responds again" in said()
    assert "nothing to do" in study.call("run").stdout
