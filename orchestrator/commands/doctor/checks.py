"""The checks of `doctor`, in order, and their results as text and JSON."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, replace

from orchestrator.backends.check_result import CheckResult, Level, bad, ok
from orchestrator.backends.plugin import BackendPlugin, PlannedRun
from orchestrator.backends.registry import backend_plugin, backends
from orchestrator.commands.doctor import machine, services, state
from orchestrator.commands.doctor.subject import Check, Subject
from orchestrator.commands.unrunnable import unrunnable
from orchestrator.host.code import CHECKOUT, code_files, digest_of
from orchestrator.plan.job import Job
from orchestrator.spec.cluster import Cluster
from orchestrator.spec.workload import package_of
from orchestrator.study import Study
from orchestrator.wording import counted
from workloads.runtime.masking import mask, secrets_of


def all_checks() -> Mapping[str, Check]:
    """Name -> check: the general ones and those of each backend, which are skipped unless it is the chosen one."""
    found: dict[str, Check] = {
        "python": machine.interpreter,
        "resources": machine.resources,
        "niceness": machine.niceness,
        "limits": machine.limits,
        "variables": machine.variables,
        "paths": services.paths,
        "store": state.store,
        "access": state.access,
        "disk": state.disk,
        "ledger": state.ledger,
        "lease": state.lease,
        "leftovers": state.leftovers,
    }
    for plugin in backends().values():
        for name, check in plugin.checks.items():
            found[name] = _of_backend(plugin, check)
    return {**found, "tracker": services.tracker, "workload": services.workload}


def _of_backend(plugin: BackendPlugin, check: Callable[[PlannedRun], Iterable[CheckResult]]) -> Check:
    def run(subject: Subject) -> Iterable[CheckResult]:
        study = subject.study
        if backend_plugin(study.cluster.backend) is not plugin:
            return (ok(f"not used: {_where(study.cluster)}; `doctor --backend {plugin.name}` checks it"),)
        return check(
            PlannedRun(
                home=study.home,
                cluster=study.cluster,
                cluster_file=study.cluster_file,
                matrix=study.matrix,
                jobs=_open_jobs(study),
                why_unrunnable=lambda capacity: unrunnable(_open_jobs(study), capacity),
                environment=subject.environment,
                store=study.store_location,
                code_digest=_code_digest(study) if plugin.outlives_driver(study.cluster) else "",
            )
        )

    return run


def _code_digest(study: Study) -> str:
    return digest_of(code_files(CHECKOUT, package_of(study.plan.workload_name), study.home))


def _where(cluster: Cluster) -> str:
    """Where the jobs run; who has chosen no backend need not know the name of the one that serves this machine."""
    if backend_plugin(cluster.backend).local_share(cluster) is None:
        return f"backend is {cluster.backend}"
    return f"the jobs run on this machine (backend {cluster.backend})"


def _open_jobs(study: Study) -> Iterator[Job]:
    """The jobs that are not done; reads the store at the first one."""
    done = study.store.commits()
    yield from (job for job in study.plan.jobs.values() if job.fingerprint not in done)


Findings = list[tuple[str, CheckResult]]


def examine(subject: Subject, checks: Mapping[str, Check] | None = None) -> Findings:
    """Run all checks; (name, result) of each. An OSError of a check becomes its result, and the others still run."""
    found: Findings = []
    for name, check in (all_checks() if checks is None else checks).items():
        try:
            found += [(name, finding) for finding in check(subject)]
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            found.append((name, bad(f"{where}{error.strerror or error}", "make it readable for this user")))
    secrets = secrets_of(os.environ)
    return [(name, replace(one, says=mask(one.says, secrets), remedy=mask(one.remedy, secrets))) for name, one in found]


def worst(found: Findings) -> Level:
    """The worst level."""
    levels = {finding.level for _, finding in found}
    return "bad" if "bad" in levels else "warning" if "warning" in levels else "ok"


def findings_text(found: Findings) -> str:
    """A table of check, level and result; each remedy has its own line, never wrapped, so that it can be copied."""
    width = max((len(name) for name, _ in found), default=0)
    lines: list[str] = []
    for name, finding in found:
        lines.append(f"{name:<{width}}  {finding.level:<7}  {finding.says}")
        if finding.remedy:
            lines.append(f"{'':<{width}}  {'':<7}  -> {finding.remedy}")
    number = sum(finding.level == "bad" for _, finding in found)
    remarks = sum(finding.level == "warning" for _, finding in found)
    lines.append("")
    lines.append(
        f"{counted(number, 'problem')}, {counted(remarks, 'warning')}" if number or remarks else "no problems found"
    )
    return "\n".join(lines)


def findings_json(found: Findings) -> dict[str, object]:
    """What `doctor --json` prints."""
    shown = ({"check": name, **asdict(finding)} for name, finding in found)
    checks = [{key: value for key, value in one.items() if key != "facts" or value} for one in shown]
    return {"version": 1, "worst": worst(found), "checks": checks}
