r"""LaTeX tables: one file a table for `\input`, and `all.tex`, a document with all of them.

They need the packages booktabs and graphicx, and an engine that reads UTF-8 (pdflatex does).
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence

from reports.analysis import Analysis, analyse_published
from reports.formats import capitalised
from reports.input import ReportInput
from reports.page.tables import PrintedTable, TableLine, marks_note, printed

WIDE = 8
"""Columns from which a table is scaled to the width of the text."""
SPECIAL: Mapping[str, str] = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "'": r"\textquotesingle{}",
    "`": r"\textasciigrave{}",
    "-": "-{}",  # two of them are no dash
    "−": r"$-$",
    "±": r"$\pm$",
    "×": r"$\times$",
    "·": r"$\cdot$",
    "–": "--",
    "—": "---",
    "…": r"\ldots{}",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "→": r"$\rightarrow$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "µ": r"$\mu$",
    "°": r"$^\circ$",
    "²": r"$^2$",
    "³": r"$^3$",
}
IN_T1 = "ÆÐØÞßæðøþĐđıŁłŊŋŒœ"
"""Letters of the T1 encoding that are none of ASCII with an accent."""
GREEK = re.compile(r"GREEK (SMALL|CAPITAL) LETTER ([A-Z]+)$")
GREEK_COMMANDS = frozenset(
    {
        "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa",
        "lambda", "mu", "nu", "xi", "pi", "rho", "sigma", "tau", "upsilon", "phi",
        "chi", "psi", "omega", "Gamma", "Delta", "Theta", "Lambda", "Xi", "Pi", "Sigma",
        "Upsilon", "Phi", "Psi", "Omega",
    }
)  # fmt: skip


def latex_files(given: ReportInput, analysis: Analysis) -> dict[str, str]:
    """`NAME.tex` of every table, of published ones `published-NAME.tex`, and `all.tex`."""
    found: dict[str, str] = {}
    for name in analysis.tables:
        about = f"{given.study}, {given.profile}"
        found[_file(name, found)] = table_tex(analysis, printed(analysis, name), about)
    if analysis.spec.published is not None:
        declared = analysis.spec.published()
        published = analyse_published(analysis.spec, declared)
        for name in published.tables:
            found[_file(f"published-{name}", found)] = table_tex(published, printed(published, name), declared.source)
    return {**found, "all.tex": _document(list(found))}


def escaped(text: str) -> str:
    """Text as LaTeX prints it; a character that pdflatex does not know is printed as its number."""
    return "".join(map(_character, " ".join(text.split())))


def table_tex(analysis: Analysis, table: PrintedTable, about: str) -> str:
    r"""One table: best in bold, half of the interval behind ±.

    Args:
        analysis: whose table it is.
        table: as the page prints it.
        about: whose numbers these are, for the caption.
    """
    columns = table.columns
    rules, at = [], 2
    for _, count in table.branches:
        rules.append(rf"\cmidrule(lr){{{at}-{at + count - 1}}}")
        at += count
    groups = " & ".join(["", *(rf"\multicolumn{{{n}}}{{c}}{{{escaped(branch)}}}" for branch, n in table.branches)])
    arrows = {"high": "↑", "low": "↓"}
    names = " & ".join(["row", *(escaped(f"{c.name} {arrows[c.better]}") for c in columns)])
    units = " & ".join(["", *(escaped(c.unit) for c in columns)])
    lines = [*map(_line, table.lines)]
    lines += [
        rf"{escaped(row)} & \multicolumn{{{len(columns)}}}{{l}}{{not in this profile}} \\" for row in table.outside
    ]
    lines += [r"\midrule", *map(_line, table.references)] if table.references else []
    body = "\n".join(
        [
            rf"\begin{{tabular}}{{l{'r' * len(columns)}}}",
            r"\toprule",
            rf"{groups} \\",
            " ".join(rules),
            rf"{names} \\",
            *([rf"{units} \\"] if any(c.unit for c in columns) else []),
            r"\midrule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}",
        ]
    )
    if len(columns) >= WIDE:
        body = rf"\resizebox{{\textwidth}}{{!}}{{%{chr(10)}{body}}}"
    notes = [note for note in (marks_note(analysis, [table]), table.note) if note]
    said = "".join(f"{escaped(capitalised(note))}. " for note in notes)
    caption = (
        f"{escaped(f'{about}: {table.name}')}. {said}" + r"$\pm$: half of the 95\,\% interval, where there is one."
    )
    if any(cell.crossed_out for line in table.lines for cell in line.cells):
        caption += r" $^{\ast}$: a control did not hold, and the number can be compared with no other."
    label = re.sub(r"[^A-Za-z0-9-]+", "-", table.name)
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{caption}}}",
            rf"\label{{tab:{label}}}",
            body,
            r"\end{table}",
            "",
        ]
    )


def _line(line: TableLine) -> str:
    cells = [escaped(line.row) + (f" = {escaped(line.same_as)}" if line.same_as else "")]
    for cell in line.cells:
        text = escaped(cell.text) or "missing"
        text = (
            rf"\textit{{{text}}}$^{{\ast}}$"
            if cell.crossed_out
            else rf"\textbf{{{text}}}"
            if cell.mark == "best"
            else text
        )
        text += rf"\textsuperscript{{{escaped(cell.sign)}}}" if cell.sign and not cell.crossed_out else ""
        text += rf" {{\scriptsize $\pm$ {escaped(cell.spread)}}}" if cell.spread else ""
        beside = "; ".join(filter(None, (cell.present, cell.unanswered)))
        cells.append(text + (rf" {{\scriptsize {escaped(beside)}}}" if beside else ""))
    return " & ".join(cells) + r" \\"


def _character(character: str) -> str:
    if character in SPECIAL:
        return SPECIAL[character]
    if character.isascii():
        return character if character.isprintable() else f"[U+{ord(character):04X}]"
    greek = GREEK.fullmatch(unicodedata.name(character, ""))
    if greek is not None:
        command = greek.group(2).lower() if greek.group(1) == "SMALL" else greek.group(2).capitalize()
        if command in GREEK_COMMANDS:
            return rf"$\{command}$"
    accented = len(unicodedata.normalize("NFD", character)) == 2 and 0xC0 <= ord(character) <= 0x17E
    if accented or character in IN_T1:
        return character
    return f"[U+{ord(character):04X}]"


def _file(name: str, taken: Mapping[str, str]) -> str:
    stem = re.sub(r"[^A-Za-z0-9=.-]+", "-", name).strip("-.") or "table"
    stem = f"{stem}-table" if stem == "all" else stem
    found, count = f"{stem}.tex", 2
    while found in taken:
        found, count = f"{stem}-{count}.tex", count + 1
    return found


def _document(names: Sequence[str]) -> str:
    return "\n".join(
        [
            r"\documentclass{article}",
            r"\usepackage[T1]{fontenc}",
            r"\usepackage[utf8]{inputenc}",
            r"\usepackage{textcomp}",
            r"\IfFileExists{lmodern.sty}{\usepackage{lmodern}}{}",
            r"\usepackage{booktabs}",
            r"\usepackage{graphicx}",
            r"\begin{document}",
            *(rf"\input{{{name}}}\clearpage" for name in names),
            *([] if names else ["There are no tables."]),
            r"\end{document}",
            "",
        ]
    )
