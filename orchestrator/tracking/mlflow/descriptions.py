"""Descriptions of runs in Markdown (MLflow's tag `mlflow.note.content`); pure functions, without MLflow."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from orchestrator.tracking.mlflow.rows import column_title, columns_of, leading_column, progress, ranking, score_text
from orchestrator.wording import counted, shortened
from reports.marks import TEST, Mark, explained

DESCRIPTION_TAG = "mlflow.note.content"
LONGEST = 8000
"""Characters of a tag of a run in MLflow's database."""
MOST_MISSING = 10
MOST_BEST = 4


def study_text(
    study: Mapping[str, Any],
    states: Mapping[str, str],
    report: Mapping[str, Any] | None,
    links: Mapping[str, str],
    runs: Mapping[str, str],
) -> str:
    """The description of a study's run: progress, links, ranking, findings, certificate.

    Args:
        study: its message.
        states: of the jobs.
        report: report.json; None: there is none yet.
        links: title -> address, for the first lines.
        runs: row -> address of its run.
    """
    rows = study["rows"]
    jobs = list(dict.fromkeys(job for row in rows.values() for job in row["jobs"]))
    seeds = f"seeds {', '.join(map(str, study['seeds']))}" if len(study["seeds"]) > 1 else f"seed {study['seeds'][0]}"
    parts = [
        f"**{study['experiment']}, profile {study['name']}**: {counted(len(rows), 'row')}, {seeds}; "
        f"{progress(states, jobs)} done. {_best(study, report)}".strip(),
        " · ".join(f"[{title}]({address})" for title, address in links.items()),
    ]
    if report is None:
        parts.append("Ranking, findings and what was held equal are added when the report is written.")
    else:
        parts += [_ranking(study, report, runs), _findings(report), _certificate(report), _missing(report)]
    return _within("\n\n".join(filter(None, parts)))


def _best(study: Mapping[str, Any], report: Mapping[str, Any] | None) -> str:
    """The marked rows of each branch, in a sentence."""
    found = []
    for column in columns_of(study, report) if report is not None else ():
        marks: Mapping[str, Mark] = column.get("marks", {})
        if marked := [label for label in ranking(study, report) if label in marks]:
            found.append(f"**{column['branch']}**, {marks[marked[0]]}: {shortened(marked, MOST_BEST)}")
    return f"{'; '.join(found)}." if found else ""


def _marks_note(columns: Sequence[Mapping[str, Any]], labels: Collection[str]) -> str:
    """What the marks of these rows in these columns mean."""
    marks = [mark for column in columns for label, mark in column.get("marks", {}).items() if label in labels]
    lines = explained(marks)
    return "".join(f"{_plain(line)}. " for line in (*lines, f"Worse: paired, {TEST}")) if lines else ""


def _ranking(study: Mapping[str, Any], report: Mapping[str, Any], runs: Mapping[str, str]) -> str:
    columns, leading = columns_of(study, report), leading_column(study, report)
    if leading is None:
        return ""
    lines = [_line(["", "row", *(column_title(column) for column in columns)]), _line(["---"] * (len(columns) + 2))]
    places: dict[str, str] = {}
    for label in ranking(study, report):
        texts = [score_text(report, label, column) for column in columns]
        if not any(texts):
            continue
        row = study["rows"][label]
        again = places.get(row["alias_of"])  # another name of a row takes no place of its own
        place = "" if row["reference"] else again or str(len(set(places.values())) + 1)
        if place:
            places[label] = place
        name = f"[{label}]({runs[label]})" if label in runs else label
        lines.append(_line([place, name, *map(_plain, texts)]))
    direction = "lowest" if leading["better"] == "low" else "highest"
    caption = f"Ordered by {column_title(leading)}, {direction} first. {_marks_note(columns, study['rows'])}"
    return "\n".join(["### Ranking", "", *lines, "", f"{caption}In parentheses: 95 % intervals {report['intervals']}."])


def _findings(report: Mapping[str, Any]) -> str:
    if not report["findings"]:
        return ""
    lines = [_line(["finding", "verdict", "effect", "95 % interval"]), _line(["---"] * 4)]
    for finding in report["findings"]:
        effect = "" if finding["effect"] is None else f"{finding['effect']:.3g} {finding['unit']}".strip()
        limits = "" if finding["low"] is None else f"{finding['low']:.3g} to {finding['high']:.3g}"
        statement = f"{finding['statement']} ({finding['axes']})" if finding.get("axes") else finding["statement"]
        lines.append(_line([statement, f"**{finding['verdict']}**", effect, limits]))
    return "\n".join(["### Findings", "", *lines])


def _certificate(report: Mapping[str, Any]) -> str:
    controls = report["controls"]
    lines = [f"### Held equal\n\nControls `{str(controls['fingerprint'])[:12]}`, compared before and after the run."]
    by_verdict: dict[str, list[str]] = {}
    for verdict in controls["verdicts"]:
        by_verdict.setdefault(verdict["verdict"], []).append(verdict["check"])
    lines += [f"* **{verdict}**: {', '.join(checks)}" for verdict, checks in by_verdict.items()]
    lines += [
        f"* intended difference: `{one['key']}` in {', '.join(one['rows'])} ({one['reason']})"
        for one in controls["deviations"]
    ]
    return "\n".join(lines)


def _missing(report: Mapping[str, Any]) -> str:
    missing = report["missing"]
    if not missing:
        return ""
    named = [
        f"* {'/'.join(filter(None, (one['row'], one['axes'], str(one['seed']), one['branch'])))}: {one['state']}"
        for one in missing[:MOST_MISSING]
    ]
    more = len(missing) - MOST_MISSING
    return "\n".join(["### Not there", "", *named, *([f"* and {more} more"] if more > 0 else [])])


def row_text(study: Mapping[str, Any], states: Mapping[str, str], report: Mapping[str, Any] | None, label: str) -> str:
    """The description of a row's run: its scores with intervals."""
    row = study["rows"][label]
    kind = "A reference: ceiling or floor, never ranked" if row["reference"] else f"Family {row['family']}"
    parts = [f"Row **{label}**. {kind}; {counted(len(row['seeds']), 'seed')}; {progress(states, row['jobs'])} done."]
    if row["alias_of"]:
        parts.append(f"Computes the same as {row['alias_of']}, under another name.")
    texts = {} if report is None else {c["branch"]: score_text(report, label, c) for c in columns_of(study, report)}
    if report is not None and any(texts.values()):
        shown = [(column, texts[column["branch"]]) for column in columns_of(study, report)]
        parts.append(" · ".join(f"{column_title(column)}: **{_plain(text)}**" for column, text in shown if text))
        note = _marks_note([column for column, _ in shown], [label])
        parts.append(f"{note}In parentheses: 95 % intervals {report['intervals']}. From the report.")
    return _within("\n\n".join(parts))


def cell_text(
    cell: Mapping[str, Any],
    jobs: Sequence[Mapping[str, Any]],
    scores: Mapping[str, str],
    links: Mapping[str, str],
    about: Sequence[str],
) -> str:
    """The description of a cell's run: its scores, what they mean, and its jobs with log and commit record.

    Args:
        cell: its message.
        jobs: `name`, `state`, `job`, `commit` and `log` of each; paths are relative to the study's folder.
        scores: title -> value.
        links: title -> address of its tables.
        about: what case values mean.
    """
    alias = cell["tags"]["alias_of"]
    where = "Logs and commit records are relative to the study's folder; `echo-matrix show JOB` tells the rest."
    return _within(
        "\n\n".join(
            filter(
                None,
                [
                    f"The same computation as {alias}, under another name." if alias else "",
                    " · ".join(f"{title}: **{value}**" for title, value in scores.items()),
                    " · ".join(f"[{title}]({address})" for title, address in links.items()),
                    *about,
                    where,
                    "\n".join(map(_job_line, (job for job in jobs if job["state"]))),
                ],
            )
        )
    )


def _job_line(job: Mapping[str, Any]) -> str:
    places = "".join(f"<br>`{job[key]}`" for key in ("log", "commit") if job[key])
    return f"* **{job['name']}** `{job['job']}`: {job['state']}{places}"


def _plain(text: str) -> str:
    """Text whose asterisk is no markup."""
    return text.replace("*", "\\*")


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def _within(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 2]}\n…"
