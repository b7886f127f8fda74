"""All checks by name, in the order in which they are told; a backend adds its own with one line."""

from collections.abc import Mapping
from dataclasses import asdict

from orchestrator.doctor import machine, services, slurm, state
from orchestrator.doctor.finding import Check, Finding, Level, Subject, bad

CHECKS: Mapping[str, Check] = {
    "python": machine.interpreter,
    "resources": machine.resources,
    "niceness": machine.niceness,
    "limits": machine.limits,
    "temporary": machine.temporary,
    "paths": services.paths,
    "store": state.store,
    "disk": state.disk,
    "ledger": state.ledger,
    "lease": state.lease,
    "leftovers": state.leftovers,
    "ray": services.ray,
    "slurm": slurm.slurm,
    "tracker": services.tracker,
    "workload": services.workload,
}

Findings = list[tuple[str, Finding]]


def examine(subject: Subject, checks: Mapping[str, Check] = CHECKS) -> Findings:
    """What all checks found, with the name of each; one that cannot look says so and stops no other."""
    found: Findings = []
    for name, check in checks.items():
        try:
            found += [(name, finding) for finding in check(subject)]
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            found.append((name, bad(f"{where}{error.strerror or error}", "see that this user may read it")))
    return found


def worst(found: Findings) -> Level:
    """The worst that was found."""
    levels = {finding.level for _, finding in found}
    return "bad" if "bad" in levels else "warning" if "warning" in levels else "ok"


def found_text(found: Findings) -> str:
    """A table: check, level, what was found; the remedy on a line of its own, whole, so that it can be copied."""
    width = max((len(name) for name, _ in found), default=0)
    lines: list[str] = []
    for name, finding in found:
        lines.append(f"{name:<{width}}  {finding.level:<7}  {finding.says}")
        if finding.remedy:
            lines.append(f"{'':<{width}}  {'':<7}  -> {finding.remedy}")
    number = sum(finding.level == "bad" for _, finding in found)
    remarks = sum(finding.level == "warning" for _, finding in found)
    lines.append("")
    plural = "" if remarks == 1 else "s"
    lines.append(f"{number} bad, {remarks} warning{plural}" if number or remarks else "all is well")
    return "\n".join(lines)


def found_json(found: Findings) -> dict[str, object]:
    """What `doctor --json` prints."""
    checks = [{"check": name, **asdict(finding)} for name, finding in found]
    return {"version": 1, "worst": worst(found), "checks": checks}
