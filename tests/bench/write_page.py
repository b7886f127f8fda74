"""Write what `make bench` measured (build/bench.json) into docs/benchmarks.md and its figures; `make bench-page`.

The page is written by hand but for the blocks between `<!-- NAME -->` and `<!-- end -->`, which are made here.
"""

import json
import math
import re
import shutil
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

ROOT = Path(__file__).parents[2]
MEASURED = ROOT / "build" / "bench.json"
PAGE = ROOT / "docs" / "benchmarks.md"
FIGURES = ROOT / "docs" / "benchmarks"
OURS, PEER = "#3b5b92", "#b9bec7"
WORDS = {2: "two", 4: "four", 8: "eight"}

Line = dict[str, Any]


def main() -> None:
    """Write the figures, the record and the blocks of the page."""
    found = json.loads(MEASURED.read_text(encoding="utf-8"))
    FIGURES.mkdir(exist_ok=True)
    shutil.copyfile(MEASURED, FIGURES / "measured.json")
    lines: list[Line] = found["measured"]
    groups = {
        name: [line for line in lines if line["group"] == name] for name in ("jobs", "growth", "computing", "again")
    }
    draw(FIGURES / "jobs.svg", lambda axes: bars(axes, groups["jobs"]), (7, 2.6))
    draw(FIGURES / "growth.svg", lambda axes: curves(axes, groups["growth"]), (7, 4))
    draw(FIGURES / "computing.svg", lambda axes: ratios(axes, groups["computing"]), (7, 2.6))
    blocks = {
        "run": run_text(found),
        "jobs": compared(groups["jobs"]),
        "growth": growth(groups["growth"]),
        "computing": compared(groups["computing"]),
        "again": alone(groups["again"]),
        "lost": lost(lines),
    }
    text = PAGE.read_text(encoding="utf-8")
    for name, block in blocks.items():
        text, number = re.subn(
            rf"(<!-- {name} -->\n).*?(<!-- end -->)", lambda at, new=block: f"{at[1]}{new}\n{at[2]}", text, flags=re.S
        )
        assert number == 1, f"{PAGE} has {number} blocks {name}"
    PAGE.write_text(text, encoding="utf-8")


def run_text(found: dict[str, Any]) -> str:
    """Machine, date and versions."""
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    cores = WORDS.get(found["cores"], str(found["cores"]))
    return f"{found['date']}, {cores} shared cores, load {found['load']} at the end; {versions}."


def number(seconds: float) -> str:
    """Seconds with three digits that count."""
    digits = max(0, 2 - math.floor(math.log10(seconds))) if seconds > 0 else 0
    return f"{seconds:.{digits}f}"


def compared(lines: list[Line]) -> str:
    """Rows of ours and the peer's."""
    rows = ["| what | this repository, s | peer, s | times as long |", "|---|---|---|---|"]
    for line in lines:
        theirs = "" if line["peer"] is None else f"{line['name']}, {number(line['peer'])}"
        ratio = "" if line["peer"] is None else number(line["peer"] / line["ours"])
        rows.append(f"| {line['what']} | {number(line['ours'])} | {theirs} | {ratio} |")
    return "\n".join(rows)


def alone(lines: list[Line]) -> str:
    """Rows without a size."""
    return "\n".join(["| what | |", "|---|---|", *(f"| {line['what']} | {number(line['ours'])} |" for line in lines)])


def growth(lines: list[Line]) -> str:
    """Rows of each command, with a column for each number of jobs, and the exponent between the last two."""
    sizes = sorted({line["size"] for line in lines})
    rows = [f"| processor, s | {' | '.join(f'{size:,} jobs' for size in sizes)} | exponent |"]
    rows.append("|" + "---|" * (len(sizes) + 2))
    for what, points in by_what(lines).items():
        cells = [number(points[size]) if size in points else "" for size in sizes]
        rows.append(f"| {what} | {' | '.join(cells)} | {exponent(points):.2f} |")
    return "\n".join(rows)


def exponent(points: dict[int, float]) -> float:
    """Of the growth between the two largest sizes: 1 is linear."""
    fewer, more = sorted(points)[-2:]
    return math.log(points[more] / points[fewer]) / math.log(more / fewer)


def by_what(lines: list[Line]) -> dict[str, dict[int, float]]:
    """What was measured -> size -> seconds."""
    found: dict[str, dict[int, float]] = {}
    for line in lines:
        found.setdefault(line["what"], {})[line["size"]] = line["ours"]
    return found


def lost(lines: list[Line]) -> str:
    """Where a peer is faster."""
    found = [
        f"* {line['what']}: {line['name']} takes {number(line['peer'] / line['ours'])} of our time."
        for line in lines
        if line["peer"] is not None and line["peer"] < line["ours"] and line["group"] in ("jobs", "computing")
    ]
    return "\n".join(found) or "* In this run, none of the peers above."


def draw(path: Path, plot: Any, size: tuple[float, float]) -> None:
    """Write one figure; equal numbers give equal bytes."""
    with mpl.rc_context({"svg.hashsalt": "bench", "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots()
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        plot(axes)
        figure.savefig(path, metadata={"Date": None}, transparent=False)


def bars(axes: Axes, lines: list[Line]) -> None:
    """Seconds a job, ours first."""
    peers = sorted((line for line in lines if line["peer"] is not None), key=lambda line: line["peer"])
    names = ["this repository", *(line["name"] for line in peers)]
    values = [peers[0]["ours"], *(line["peer"] for line in peers)]
    drawn = axes.barh(names[::-1], values[::-1], color=[PEER] * len(peers) + [OURS])
    axes.bar_label(drawn, [number(value) for value in values[::-1]], padding=3)
    axes.set_xscale("log")
    axes.set_xlabel("s a job of one optimiser step (log)")


def ratios(axes: Axes, lines: list[Line]) -> None:
    """How many times as long the peer takes."""
    names = [f"{line['what']}, {line['name']}" for line in lines]
    values = [line["peer"] / line["ours"] for line in lines]
    drawn = axes.barh(names[::-1], values[::-1], color=OURS)
    axes.bar_label(drawn, [number(value) for value in values[::-1]], padding=3)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_xlabel("time of the peer over ours (log); left of 1 the peer is faster")


def curves(axes: Axes, lines: list[Line]) -> None:
    """Processor time over number of jobs."""
    for what, points in by_what(lines).items():
        sizes = sorted(points)
        style = {"linestyle": "--", "color": "grey"} if "Snakemake" in what else {}
        label = f"{what} ({exponent(points):.2f})"
        axes.plot(sizes, [points[size] for size in sizes], marker="o", markersize=3, label=label, **style)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("jobs (log)")
    axes.set_ylabel("s of a processor (log)")
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1), title="exponent")


if __name__ == "__main__":
    main()
