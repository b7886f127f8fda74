"""What differs between a registration and what is declared now, in words; and what of it was registered. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from orchestrator.plan.job import SHORT, Plan
from orchestrator.reporting.registration.content import Content, content_of, metric_names
from orchestrator.reporting.registration.file import Entry
from reports.input import Amendment, Registration, RegistrationStatus
from reports.spec import ReportSpec

ARROW = " → "
NAMES = {"shown": "metrics of the tables"}


def changes(before: Content, now: Content) -> list[str]:
    """Every difference as a line: `finding 4: MARGIN_DB 0.5 → 1.0`, `row x added`."""
    lines = [
        *_questions(before.get("questions", {}), now.get("questions", {})),
        *_named("row", before.get("rows", {}), now.get("rows", {})),
        *_named("table", before.get("tables", {}), now.get("tables", {})),
        *_named("branch", before.get("branches", {}), now.get("branches", {})),
        *_named("score of", before.get("metrics", {}), now.get("metrics", {})),
    ]
    lines += _named("deviation", before.get("deviations", {}), now.get("deviations", {}))
    for key in ("shown", "contrast", "main table", "race", "axes", "seeds"):
        lines += _value(NAMES.get(key, key), before.get(key), now.get(key))
    lines += _named("", _flat(before.get("controls", {})), _flat(now.get("controls", {})))
    if not lines and before.get("plan") != now.get("plan"):
        lines.append("the fingerprints of jobs: their code or revision is another one")
    return lines


def registration_of(entries: Sequence[Entry], plan: Plan, spec: ReportSpec) -> Registration | None:
    """What of a plan was registered before its first evaluation, and what was changed since; None: nothing is."""
    if not entries:
        return None
    now = content_of(plan, spec)
    before = [one for one in entries if one.evaluations == 0]
    baseline: Content = before[-1].content if before else {}
    return Registration(
        at=entries[0].at,
        commit=entries[0].commit,
        digest=entries[-1].digest,
        evaluations=entries[0].evaluations,
        amendments=[
            Amendment(
                at=one.at,
                commit=one.commit,
                digest=one.digest,
                evaluations=one.evaluations,
                changes=changes(earlier.content, one.content),
            )
            for earlier, one in pairwise(entries)
        ],
        changes=changes(baseline, now) if before else [],
        findings=_statuses(baseline.get("questions", {}), now["questions"]),
        rows=_statuses(baseline.get("rows", {}), now["rows"]),
        metrics=sorted(_registered_metrics(baseline, spec)),
    )


def _statuses(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, RegistrationStatus]:
    return {
        name: "explored" if name not in before else "registered" if before[name] == value else "changed"
        for name, value in now.items()
    }


def _registered_metrics(baseline: Content, spec: ReportSpec) -> set[str]:
    """`branch/metric` of those that are declared now and were declared then."""
    then = set(baseline.get("shown", ()))
    found: set[str] = set()
    for branch in spec.branches:
        registered = baseline.get("metrics", {}).get(branch.name)
        if registered is None:
            continue
        parts = [str(one).partition(" (")[0] for kind in ("score", "otherwise") for one in registered[kind]]
        stand_ins = [
            str(one).partition(", or ")[2].rstrip(")") for kind in ("score", "otherwise") for one in registered[kind]
        ]
        named = {f"{branch.name}/{one}" for one in (*parts, *filter(None, stand_ins), *registered["beside"], *then)}
        found |= named & metric_names(spec, branch)
    return found


def _questions(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    for name in _all(before, now):
        if name not in before or name not in now:
            yield f"finding {name} {'added' if name in now else 'removed'}"
            continue
        told = [
            *_value("statement", before[name].get("statement"), now[name].get("statement")),
            *_named("", before[name].get("constants", {}), now[name].get("constants", {})),
            *_value("smallest effect", before[name].get("smallest effect"), now[name].get("smallest effect")),
        ]
        if before[name].get("test") != now[name].get("test"):
            old, new = (str(one.get("test", ""))[:SHORT] for one in (before[name], now[name]))
            told.append(f"source of its test {old}{ARROW}{new}")
        yield from (f"finding {name}: {one.strip()}" for one in told)


def _flat(controls: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {f"controls.{name}.{key}": value for name, section in controls.items() for key, value in section.items()}


def _named(kind: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    for name in _all(before, now):
        if name not in before or name not in now:
            yield f"{kind} {name} {'added' if name in now else 'removed'}".strip()
        else:
            yield from _value(f"{kind} {name}".strip(), before[name], now[name])


def _value(where: str, before: Any, now: Any) -> Iterator[str]:
    if before == now:
        return
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for key in _all(before, now):
            yield from _value(f"{where}: {key}", before.get(key), now.get(key))
    elif isinstance(before, list) and isinstance(now, list):
        added = [_text(one) for one in now if one not in before]
        removed = [_text(one) for one in before if one not in now]
        if added:
            yield f"{where}: {', '.join(added)} added"
        if removed:
            yield f"{where}: {', '.join(removed)} removed"
        if not added and not removed:
            yield f"{where}: another order"
    else:
        yield f"{where} {_text(before)}{ARROW}{_text(now)}"


def _text(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, list):
        return " and ".join(map(_text, value)) or "none"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_text(item)}" for key, item in value.items())
    return str(value)


def _all(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    return list(dict.fromkeys([*before, *now]))
