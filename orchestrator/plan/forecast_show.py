"""A forecast as text and as JSON, for `plan`, `status` and the first lines of a run."""

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from orchestrator.plan.estimates import Basis
from orchestrator.plan.forecast import CORE_FLOPS_S, DEVICE_FLOPS_S, Forecast, RowForecast
from orchestrator.wording import counted

SHOWN = 30
"""Rows that are listed, those with the most hours; the others are summed."""

WORDS: dict[Basis, str] = {"measured": "measured", "flops": "from FLOPs", "guess": "guessed"}
ASSUMED = f"assumed: {CORE_FLOPS_S / 1e9:g} GFLOP/s a core, {DEVICE_FLOPS_S / 1e12:g} TFLOP/s a device"


def forecast_line(forecast: Forecast, now: float) -> str:
    """One line: how many jobs, how long, until when, at what cost, and from what it is estimated.

    `now`: seconds since 1970; times are local.
    """
    if not forecast.jobs:
        return "estimated: nothing to run"
    jobs = counted(forecast.jobs, "job")
    return f"estimated: {jobs}, {_span(forecast, now)}, {_costs(forecast)}; {basis_words(forecast)}"


def forecast_text(forecast: Forecast, now: float) -> str:
    """A table of the rows, then the line of `forecast_line`; empty without jobs."""
    if not forecast.jobs:
        return ""
    devices, cores = forecast.device_hours > 0, forecast.core_hours > 0
    head = ["row", "jobs", "time", *(["device-hours"] if devices else []), *(["core-hours"] if cores else [])]
    rows, left = _shown(forecast.rows)
    lines = [head]
    for row in rows:
        hours = [*([amount(row.device_hours)] if devices else []), *([amount(row.core_hours)] if cores else [])]
        lines.append([row.row or "(shared)", str(row.jobs), duration_words(row.hours * 3600), *hours])
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    table = [
        "  " + "  ".join(text.ljust(width) if i == 0 else text.rjust(width) for i, (text, width) in enumerate(cells))
        for cells in (list(zip(line, widths, strict=True)) for line in lines)
    ]
    if left:
        table.append(f"  ... and {left} more rows")
    return "\n".join([*table, forecast_line(forecast, now)])


def forecast_json(forecast: Forecast, now: float | None = None) -> dict[str, Any]:
    """The key `forecast` of `plan --json` and `status --json`, in hours.

    `now`, seconds since 1970: of a run in progress, with `ends_at`; without, equal plans are equal JSON.
    """
    ends_at = {} if now is None else {"ends_at": now + forecast.makespan_s if forecast.jobs else None}
    return {
        "jobs": forecast.jobs,
        "hours": forecast.hours,
        "device_hours": forecast.device_hours,
        "core_hours": forecast.core_hours,
        "device_hours_p95": forecast.device_hours_p95,
        "core_hours_p95": forecast.core_hours_p95,
        "makespan_s": forecast.makespan_s,
        **ends_at,
        "at_least": not forecast.capacity.is_known,
        "basis": dict(forecast.bases),
        "device_kind": forecast.kind,
        "rows": [asdict(row) for row in forecast.rows],
    }


def basis_words(forecast: Forecast) -> str:
    """`12 measured on cpu X, 3 guessed`."""
    said = []
    for basis, number in forecast.bases.items():
        words = WORDS[basis]
        if basis == "measured" and forecast.kind:
            words += f" on {forecast.kind}"
        if basis == "flops" and forecast.is_assumed:
            words += f" ({ASSUMED})"
        said.append(f"{number} {words}")
    return ", ".join(said)


def duration_words(seconds: float) -> str:
    """`40 s`, `12 min`, `3.5 h`, `2.1 days`."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    if seconds < 99.5 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:,.1f} days"


def amount(hours: float) -> str:
    """Hours with two digits that count."""
    return f"{hours:,.0f}" if hours >= 10 else f"{hours:.2g}"


def _span(forecast: Forecast, now: float) -> str:
    words = duration_words(forecast.makespan_s)
    guess = " (a first guess)" if forecast.is_first_guess else ""
    if not forecast.capacity.is_known:
        return f"at least {words} once they may run{guess}"
    if guess:  # a time of day would be planned by
        return f"about {words}{guess}"
    shape = "%H:%M" if forecast.makespan_s < 20 * 3600 else "%Y-%m-%d %H:%M"
    return f"about {words}, until {time.strftime(shape, time.localtime(now + forecast.makespan_s))}"


def _costs(forecast: Forecast) -> str:
    parts = [
        ("device-hours", forecast.device_hours, forecast.device_hours_p95),
        ("core-hours", forecast.core_hours, forecast.core_hours_p95),
    ]
    said = []
    for name, hours, most in parts:
        if hours > 0:
            tail = f" (P95 {amount(most)})" if most > hours and amount(most) != amount(hours) else ""
            said.append(f"{amount(hours)} {name}{tail}")
    return " and ".join(said) or "no core-hours"


def _shown(rows: Sequence[RowForecast]) -> tuple[list[RowForecast], int]:
    """Rows in their order, and how many are left out."""
    most = {row.row for row in sorted(rows, key=lambda row: -row.hours)[:SHOWN]}
    shown = [row for row in rows if row.row in most]
    return shown, len(rows) - len(shown)
