"""The cluster for tests is a real one: two nodes, accounting, limits, preemption, daemons that die and return."""

from collections.abc import Callable

from slurm_site import Site

Wait = Callable[[Callable[[], bool], str], None]


def submit(site: Site, *options: str, wrap: str) -> str:
    return site.call(
        "sbatch", "--parsable", "--output", str(site.folder / "log" / "job-%j.out"), *options, "--wrap", wrap
    )


def test_a_job_runs_on_two_nodes_and_is_accounted_for(site: Site, wait_until: Wait) -> None:
    job = submit(site, "-N2", wrap="srun -N2 -n2 sh -c 'echo node $SLURMD_NODENAME'")
    wait_until(lambda: site.state(job) == "COMPLETED", "the job")
    said = (site.folder / "log" / f"job-{job}.out").read_text().splitlines()
    assert sorted(said) == ["node n1", "node n2"]


def test_the_site_has_limits_that_can_be_read(site: Site) -> None:
    assert "MaxArraySize            = 201" in site.call("scontrol", "show", "config")
    assert "500" in site.call("sacctmgr", "-nP", "show", "assoc", "account=study", "format=maxsubmit")


def test_a_job_of_the_short_partition_preempts_one_of_the_long(site: Site, wait_until: Wait) -> None:
    long = submit(site, "-p", "long", "-n", "8", "--requeue", wrap="sleep 600")
    wait_until(lambda: site.state(long) == "RUNNING", "the long job")
    short = submit(site, "-p", "short", "-n", "8", wrap="sleep 1")
    wait_until(lambda: site.state(short) == "COMPLETED", "the short job")
    wait_until(lambda: "Restarts=1" in site.call("scontrol", "show", "job", long), "the requeue")
    site.clear()


def test_daemons_die_and_come_back(site: Site, wait_until: Wait) -> None:
    for name in ("slurmctld", "n2", "slurmdbd"):
        site.daemon(name, "kill")
        site.daemon(name, "start")
    job = submit(site, "-N2", wrap="srun -N2 -n2 true")
    wait_until(lambda: site.state(job) == "COMPLETED", "a job on both nodes")
