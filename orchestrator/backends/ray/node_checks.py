"""`doctor` for the nodes of a standing Ray cluster: one line for each, with all that is wrong there."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from orchestrator.backends.check_result import CheckResult, Level, bad, ok
from orchestrator.backends.plugin import PlannedRun
from orchestrator.backends.ray.address import ClusterSilent, place_of
from orchestrator.backends.ray.auth_token import check_token
from orchestrator.backends.ray.inventory import Inventory, ask_in_child
from orchestrator.backends.ray.preflight import capacity_of
from orchestrator.backends.ray.settings import RaySettings, ray_settings, study_of
from orchestrator.errors import BackendError
from orchestrator.host.libraries import library_versions
from orchestrator.host.machine import GIB, existing_folder
from orchestrator.plan.job import Job
from orchestrator.wording import counted, public_url

ANSWER_S = 20.0  # for a node: a worker is started there, our code is unpacked, and services are asked
WITHIN_S = 120.0  # for all nodes; each has less
CLOCK_S = 1.0  # of difference that is told: times of several nodes are compared to find which failed first
SIGNED_S = 600.0  # of difference at which requests to S3 begin to be refused
SCRATCH_GIB = 2.0
GUIDE = "docs/how-to/ray-cluster.md"
Problem = tuple[Level, str, str]
"""Level, what is wrong, and what to do."""


def nodes(run: PlannedRun) -> Iterator[CheckResult]:
    """What the cluster is, and one line for each of its nodes."""
    settings = ray_settings(run.cluster)
    if settings.embedded:
        yield ok("this machine is the only node")
        return
    environment = run.environment or os.environ
    jobs = list(run.jobs)
    try:
        place = place_of(settings.address, environment)
        check_token(environment)
        answer = ask_in_child(
            "nodes", (), place, environment, WITHIN_S, json.dumps(_request(run, settings, place, jobs))
        )
    except BackendError as error:
        if isinstance(error, ClusterSilent) and settings.address == "auto" and settings.dashboard is not None:
            asked = f"ray job submit --address {public_url(settings.dashboard)} -- echo-matrix doctor --cluster FILE"
            yield ok(f"looked at from the head alone, whose cluster `auto` is: `{asked}`")
            return
        why, _, remedy = str(error).partition("; ")
        yield bad(why, remedy or f"see {GUIDE}")
        return
    found = json.loads(answer)
    inventory = Inventory.from_json(found["inventory"])
    yield ok(f"ray {inventory.version} at {place}: {inventory.words(settings.node_types)}")
    if why := run.why_unrunnable(capacity_of(inventory, settings)):
        what, _, remedy = why.rpartition("; ")
        yield bad(what, remedy)
    here = library_versions()
    for node in sorted(found["nodes"], key=lambda node: (not node["head"], node["name"])):
        yield node_result(node, here, run.code_digest, devices=any(job.resources.devices for job in jobs))


def needs_of(jobs: Iterable[Job]) -> list[tuple[int, int]]:
    """Nodes and devices of each kind of job; 0 nodes: as few as hold its devices."""
    return sorted({(job.resources.nodes or 0, job.resources.devices) for job in jobs})


def _request(run: PlannedRun, settings: RaySettings, place: str, jobs: list[Job]) -> dict[str, Any]:
    home = run.home.resolve()
    uri = run.cluster.tracking.uri if run.cluster.tracking.kind == "mlflow" else None
    served = uri is not None and urlsplit(uri).scheme in ("http", "https")
    return {
        "address": place,
        "study": study_of(home),
        "home": str(home),
        "place": str(existing_folder(home)),
        "store": {} if run.store is None else run.store.as_json(),
        "tracker": f"{public_url(uri).rstrip('/')}/health" if uri and served else None,
        "scratch": settings.scratch or "",
        "answer_s": ANSWER_S,
        "needs": needs_of(jobs),
    }


def node_result(
    node: Mapping[str, Any], here: Mapping[str, str], code_digest: str = "", *, devices: bool = False
) -> CheckResult:
    """One node's line.

    Args:
        node: as `nodes.main` prints it.
        here: versions on the driver's machine.
        code_digest: of the driver's code; empty: not known.
        devices: whether jobs of the plan ask for devices.
    """
    name = f"{node['name']}{' (head)' if node['head'] else ''}"
    if "facts" not in node:
        return CheckResult(
            level="bad",
            says=f"{name}: {node['problem']}",
            remedy="see `ray status` and the raylet's log on that node; restart Ray there, or take the node away",
            facts=node,
        )
    problems = list(_problems(node, here, devices=devices))
    said = [*(what for _, what, _ in problems), *_well(node, here, code_digest)]
    levels = {level for level, _, _ in problems}
    return CheckResult(
        level="bad" if "bad" in levels else "warning" if levels else "ok",
        says=f"{name}: {'; '.join(said)}",
        remedy="; ".join(dict.fromkeys(remedy for _, _, remedy in problems)),
        facts=node,
    )


def _problems(node: Mapping[str, Any], here: Mapping[str, str], *, devices: bool) -> Iterator[Problem]:
    facts = node["facts"]
    different = _different(facts["versions"], here)
    if different:
        wanted = " ".join(f"{name}=={here[name]}" for name in here if name in _names(different) and name != "python")
        remedy = f"pip install {wanted} there" if wanted else f"use Python {here['python']} there"
        yield "bad", f"takes no jobs: {', '.join(different)}", remedy
    if node["counted_devices"] > facts["devices"]:
        what = f"Ray counts {counted(node['counted_devices'], 'device')}, {facts['devices']} can be used there"
        yield "bad", what, "start Ray there with --num-gpus of what `nvidia-smi -L` lists"
    yield from _disk_problems(node)
    if facts["store"]:
        yield (
            "bad",
            f"the store is not reached: {facts['store']}",
            "see store in the cluster file, and docs/how-to/s3.md",
        )
    if facts["tracker"]:
        yield (
            "warning",
            f"MLflow is not reached: {facts['tracker']}",
            "only a controller on that node would need it: open its port there, or run it elsewhere",
        )
    if abs(node["clock_s"]) > CLOCK_S:
        ahead = f"{abs(node['clock_s']):.1f} s {'ahead' if node['clock_s'] > 0 else 'behind'}"
        level: Level = "bad" if abs(node["clock_s"]) > SIGNED_S else "warning"
        yield level, f"its clock is {ahead}", "let chrony or ntpd set it"
    if facts["niceness"] > 0:
        what = f"jobs run at niceness {facts['niceness']}, with almost no processor beside any busy process"
        yield "warning", what, "start Ray there with RAY_worker_niceness=0"
    if facts["memory_monitor_ms"] != "0":
        what = "Ray's memory monitor kills a host, that is all jobs of the node, where memory is short"
        yield "warning", what, "start Ray there with RAY_memory_monitor_refresh_ms=0"
    tried = node.get("all_reduce", {})
    if "problem" in tried:
        what = f"all-reduce over {tried['nodes']} nodes ({tried['backend']}) fails: {tried['problem']}"
        yield "bad", what, "let nodes reach one another on all ports, by the network that their host names lead to"
    if devices and not node["counted_devices"] and facts["devices"]:
        what = f"Ray counts no device, {facts['devices']} are there"
        yield "warning", what, f"start Ray there with --num-gpus={facts['devices']}"


def _disk_problems(node: Mapping[str, Any]) -> Iterator[Problem]:
    facts = node["facts"]
    free = facts["free_bytes"] / GIB
    if not facts["shared"] and not facts["bucket"]:
        yield (
            "bad",
            "takes no jobs: does not see the controller's outputs/",
            "put ECHO_MATRIX_HOME on a file system that all nodes share, at the same path, or the results on S3",
        )
    elif not facts["writable"]:
        yield "bad", f"may not write to {facts['folder']}", "run Ray there as the user of the controller"
    if free < SCRATCH_GIB:
        yield "bad", f"{free:.1f} GiB free in {facts['folder']}", "free some space there"


def _well(node: Mapping[str, Any], here: Mapping[str, str], code_digest: str) -> Iterator[str]:
    """What is there, in few words."""
    facts = node["facts"]
    versions = facts["versions"]
    if not _different(versions, here):
        yield ", ".join(f"{name} {versions[name]}" for name in versions) + " as here"
    if node["host"] and code_digest:
        other = node["host"] != code_digest
        yield (
            f"has a host of other code ({node['host'][:12]}), which makes room" if other else "has a host of this code"
        )
    names = f" ({', '.join(facts['names'])})" if facts["names"] else ""
    yield f"{counted(node['cpus'], 'cpu')}, {counted(node['counted_devices'], 'device')}{names}"
    yield f"{facts['free_bytes'] / GIB:.1f} GiB free"
    if abs(node["clock_s"]) <= CLOCK_S:
        yield f"clock {node['clock_s']:+.2f} s"
    if facts["shared"]:
        yield "sees outputs/"
    elif facts["bucket"]:
        yield f"does not see outputs/: attempts run in {facts['folder']}"
    if facts["bucket"] and not facts["store"]:
        yield "store answers"
    tried = node.get("all_reduce", {})
    if "gib_per_s" in tried:
        yield f"all-reduce over {tried['nodes']} nodes ({tried['backend']}) {tried['gib_per_s']:.2f} GiB/s"


def _different(there: Mapping[str, str], here: Mapping[str, str]) -> list[str]:
    """`torch 2.12.0, here 2.13.0` for each version that is another; hosts with any such take no attempts."""
    names = dict.fromkeys((*here, *there))
    return [
        f"{name} {there.get(name, 'is missing')}, here {here.get(name, 'is missing')}"
        for name in names
        if there.get(name) != here.get(name)
    ]


def _names(different: Iterable[str]) -> set[str]:
    return {one.partition(" ")[0] for one in different}
