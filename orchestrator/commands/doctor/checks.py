"""All checks of `doctor`, in the order of its report, and the report as text and JSON."""

from collections.abc import Mapping
from dataclasses import asdict

from orchestrator.commands.doctor import machine, services, slurm, state
from orchestrator.commands.doctor.finding import Check, Finding, Level, Subject, bad

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
    """The findings of all checks, with the name of each; a check that fails becomes a finding and stops no other."""
    found: Findings = []
    for name, check in checks.items():
        try:
            found += [(name, finding) for finding in check(subject)]
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            found.append((name, bad(f"{where}{error.strerror or error}", "give this user the right to read it")))
    return found


def worst(found: Findings) -> Level:
    """The worst level."""
    levels = {finding.level for _, finding in found}
    return "bad" if "bad" in levels else "warning" if "warning" in levels else "ok"


def findings_text(found: Findings) -> str:
    """A table of check, level and finding; each remedy is on a line of its own and never wrapped, to be copied."""
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
    lines.append(f"{number} bad, {remarks} warning{plural}" if number or remarks else "no problems found")
    return "\n".join(lines)


def findings_json(found: Findings) -> dict[str, object]:
    """What `doctor --json` prints."""
    checks = [{"check": name, **asdict(finding)} for name, finding in found]
    return {"version": 1, "worst": worst(found), "checks": checks}
