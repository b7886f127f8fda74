"""The study on a real SLURM ends with the bytes that it has under Ray; its driver may be a SLURM job itself."""

import shlex
from dataclasses import replace
from pathlib import Path

import pytest
from proof import Proof, taken
from slurm_site import Site
from slurm_study import JOBS, TRAIN, SlurmStudy, wait_until


def test_a_driver_that_is_a_slurm_job_finishes_the_study_with_the_same_bytes_as_under_ray(
    study: SlurmStudy, reference: Proof, site: Site
) -> None:
    study.home.mkdir()
    said = study.home / "driver.txt"
    # What the bits of a result depend on beside the study itself: OPENBLAS_CORETYPE chooses other kernels.
    passed = ("ECHO_MATRIX_HOME", "SLURM_CONF", "OMP_", "OPENBLAS_")
    exports = [
        f"export {name}={shlex.quote(it)}" for name, it in study.environment().items() if name.startswith(passed)
    ]
    line = "; ".join([*exports, shlex.join(study.line("run"))])
    # A small job of its own: what it has of memory, cpus and time must not become its jobs'.
    driver = site.call(
        "sbatch", "--parsable", "--export=NIL", "-p", "short", "-t", "9", "-n", "1", "--mem=900", "-o", str(said),
        "--wrap", line,
    )  # fmt: skip
    wait_until(lambda: bool(study.job_of(TRAIN)), "the training to be queued")
    training = site.call("scontrol", "show", "job", study.job_of(TRAIN))
    assert "Partition=long" in training and "mem=2G" in training
    wait_until(lambda: site.state(driver) not in ("", "PENDING", "RUNNING"), "the driver's job")
    text = said.read_text(encoding="utf-8")
    assert site.state(driver) == "COMPLETED", text
    assert study.wrongs(reference) == []
    assert f"{JOBS} done" in text
    assert all(len(study.attempts(label)) == 1 for label in study.committed())
    again = study.call("run")
    assert again.returncode == 0 and "nothing to do" in again.stdout
    assert (
        len(site.call("sacct", "-nX", "--name", f"em:echo-memory:{TRAIN}:{study.attempts(TRAIN)[0].id}").split("\n"))
        == 1
    )


@pytest.mark.long
def test_the_whole_laptop_matrix_has_the_same_bytes_on_slurm_as_under_ray(study: SlurmStudy, tmp_path: Path) -> None:
    under_ray = SlurmStudy(home=tmp_path / "ray", rows=None)
    done = under_ray.call("run")
    assert done.returncode == 0, done.stdout + done.stderr
    reference = taken(under_ray)
    whole = replace(study, rows=None, jobs=len(reference.files))
    done = whole.call("run")
    assert done.returncode == 0, done.stdout + done.stderr
    assert whole.wrongs(reference) == []
    assert all(len(whole.attempts(label)) == 1 for label in reference.files)
    print(done.stdout.splitlines()[-3], f"{len(reference.files)} jobs", f"{len(reference.table)} bytes of results.csv")
