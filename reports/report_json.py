"""report.json: the numbers of the report for other programs."""

from dataclasses import asdict
from typing import Any

from reports.analysis import Analysis, analyse_published
from reports.answer import answer_json
from reports.axes import axes_json
from reports.computed_json import computed_json, plain
from reports.durations import by_stage
from reports.factors import effects_json
from reports.frontier import frontier_json
from reports.input import ReportInput
from reports.noise import noise
from reports.power import power_json
from reports.registration import registration_json
from reports.scale import scale_json
from reports.scoreboard import headlines
from reports.spec import PublishedTables, ReportSpec
from reports.suspects import beaten

VERSION = 1


def report_json(given: ReportInput, analysis: Analysis) -> dict[str, Any]:
    """The object of report.json."""
    found_noise = noise(given)
    instrument_names = () if given.spec.instruments is None else (given.spec.instruments.name,)
    units = given.spec.words.units
    whole = {
        "version": VERSION,
        "study": given.study,
        "profile": given.profile,
        "git": given.git,
        "seeds": list(given.seeds),
        "answer": answer_json(given, analysis),
        "columns": _columns(analysis),
        **computed_json(analysis),
        "frontier": frontier_json(analysis),
        "axes": axes_json(analysis, given.defaults),
        **scale_json(analysis),
        "factor_effects": effects_json(analysis),
        "made_of": [
            {"row": info.name, "factors": dict(info.factors), "sizes": info.sizes}
            for info in given.rows
            if info.factors or info.sizes
        ],
        "controls": {
            "fingerprint": given.controls.fingerprint,
            "deviations": [dict(deviation) for deviation in given.controls.deviations],
            "verdicts": [dict(verdict) for verdict in given.controls.verdicts],
        },
        "not_comparable": _not_comparable(analysis),
        **({"noise": [asdict(line) for line in found_noise]} if found_noise else {}),
        **{name: [asdict(pair) for pair in analysis.instruments] for name in instrument_names},
        "intervals": f"over {units} only: one seed" if len(set(given.seeds)) == 1 else f"over {units} and seeds",
        "missing": [asdict(part) for part in given.missing],
        "excluded": [asdict(one) for one in given.excluded],
        "left_out": [asdict(one) for one in given.left_out],
        "suspects": {
            name: [asdict(one) for one in wins] for name in analysis.panels if (wins := beaten(analysis, name))
        },
        "outside": list(given.outside),
        "durations": [asdict(one) for one in by_stage(given.durations)],
        "registration": None if given.registration is None else registration_json(given.registration, analysis),
        **({} if given.race is None else {"race": asdict(given.race)}),
        "notes": list(given.notes),
        **({"power": power_json(given, analysis, analysis.main)} if given.spec.smallest_effects else {}),
    }
    found: dict[str, Any] = plain(whole)
    return found


def _columns(analysis: Analysis) -> list[dict[str, Any]]:
    """The metric that stands for each branch, its best rows and their marks, as `results` prints them."""
    rows = [row.label for row in analysis.rows if not row.reference]
    found = []
    for column in headlines(analysis):
        best = analysis.best(f"{column.branch}/{column.metric}", rows, column.better)
        may_be_best = sorted(row for row in rows if analysis.computed_by[row] in best.rows)
        found.append({**asdict(column), "best": may_be_best, "marks": analysis.marks(best, rows)})
    return found


def _not_comparable(analysis: Analysis) -> list[dict[str, Any]]:
    """The rows whose controls did not hold, with the branches that are concerned and the checks."""
    crossed = analysis.crossed_out
    if crossed is None:
        return []
    branches = sorted({name.partition("/")[0] for name in analysis.means})
    return [
        {
            "row": row,
            "branches": [branch for branch in branches if crossed.concerning(row, branch)],
            "checks": list(dict.fromkeys(one.check for b in branches for one in crossed.concerning(row, b))),
        }
        for row in crossed.rows(branches)
    ]


def published_json(spec: ReportSpec, published: PublishedTables) -> dict[str, Any]:
    """The same object for published tables; intervals are null."""
    found: dict[str, Any] = plain(
        {
            "version": VERSION,
            "source": published.source,
            **computed_json(analyse_published(spec, published)),
            "controls": {"fingerprint": None, "deviations": [], "verdicts": []},
        }
    )
    return found
