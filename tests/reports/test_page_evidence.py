"""What stands behind the numbers of the page: jobs, data of figures, pictures and videos."""

import base64
import csv
import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_input import made_input, png, without_figures
from small_report import small_study

from reports.analysis import analyse
from reports.figures.style import looks_of
from reports.figures.training import loss_curves
from reports.input import ReportInput, Source, Video
from reports.page import figure_data
from reports.page.data_links import Behind
from reports.page.frames import frames_of
from reports.page.page import page
from reports.page.sources import anchors, source_lines
from reports.page.videos import clips
from reports.ranking import ranking
from reports.spec import ImageSpec, ReportSpec

STRIP = ImageSpec(frames=("first", "middle", "last"), lines=("made", "true"), gap=2, chosen={"last": "return"})


def sources(row: str, seeds: tuple[int, ...] = (0, 1), run: str = "") -> list[Source]:
    jobs = [("train", ""), ("evaluate", "return"), ("judge", "return")]
    return [
        Source(
            row=row,
            seed=seed,
            axes="",
            stage=stage,
            branch=branch,
            job="/".join(filter(None, (stage, branch, row, f"s{seed}"))),
            fingerprint=f"{seed}{stage[0]}" * 32,
            run=run,
        )
        for seed in seeds
        for stage, branch in jobs
    ]


@pytest.fixture(scope="module")
def given() -> ReportInput:
    return without_figures(made_input(seeds=(0, 1), cases=4))


def test_a_row_on_a_branch_names_its_jobs_and_how_to_make_it_again(given: ReportInput) -> None:
    given = replace(given, sources=sources("spatial", run="https://tracker/#/runs/1"))
    analysis = analyse(given)
    (line,) = source_lines(given, analysis)
    assert line.again == "echo-matrix run --profile laptop --rows spatial --seeds 0,1 --branches return"
    assert [job.label for job in line.jobs][:3] == [
        "train/spatial/s0",
        "evaluate/return/spatial/s0",
        "judge/return/spatial/s0",
    ]
    assert line.jobs[0].show == "echo-matrix show train/spatial/s0"
    assert {job.run for job in line.jobs} == {"https://tracker/#/runs/1"}
    assert anchors([line], analysis) == {(row, "return"): line.anchor for row in ("spatial", "spatial-text")}, (
        "another name of a row has the same jobs"
    )


def test_only_http_addresses_of_runs_are_linked(given: ReportInput) -> None:
    given = replace(given, sources=sources("spatial", run="javascript:alert(1)"))
    (line,) = source_lines(given, analyse(given))
    assert {job.run for job in line.jobs} == {""}


def test_numbers_of_the_tables_link_to_their_jobs() -> None:
    given = small_study({}, {"a": 10.0}, spec=ReportSpec())
    given = replace(given, sources=[replace(one, branch=one.branch and "far") for one in sources("a")])
    text = page(given, analyse(given))
    (anchor,) = re.findall(r'id="(from-[^"]+)"', text)
    assert re.search(rf'<td[^>]*><a href="#{anchor}">\d+\.\d+</a>', text)
    assert "echo-matrix show judge/return/a/s1" in text
    assert "echo-matrix run --profile small --rows a --seeds 0,1 --branches far" in text


def test_data_of_a_figure_is_csv_that_no_spreadsheet_computes() -> None:
    behind = Behind(name="x", headings=["row", "value"], lines=[["=1+1", -2.5], ["a,b", None], ["c", float("nan")]])
    content = base64.b64decode(behind.href.removeprefix("data:text/csv;base64,")).decode()
    assert list(csv.reader(io.StringIO(content))) == [["row", "value"], ["'=1+1", "-2.5"], ["a,b", ""], ["c", ""]]


def test_the_data_of_curves_stays_small_for_many_trainings() -> None:
    given = made_input(cases=1)
    many = replace(given, curves=[replace(curve, seed=seed) for seed in range(100) for curve in given.curves])
    assert len(figure_data.of_curves(many).lines) <= 5 * len(many.curves)


def test_loss_curves_are_a_panel_a_family_and_a_line_a_row_over_its_seeds() -> None:
    given = made_input(seeds=(0, 1), cases=1)
    given = replace(given, rows=[row for row in given.rows if row.family in ("context", "ssm")])
    kept = {row.name for row in given.rows}
    families = looks_of(dict.fromkeys(row.family for row in given.rows))
    svg = loss_curves(
        [curve for curve in given.curves if curve.row in kept],
        families,
        {row.name: row.family for row in given.rows},
        {"ssm": "state space"},
    )
    shown = [name for name in re.findall(r">([^<]+)</text>", svg) if name[0].isalpha()]
    rows = [row.name for row in given.rows]
    assert sorted(shown) == sorted([*rows, "context", "state space", "training step", "training step"])
    assert len(svg) < 400_000


def strip(path: Path, lines: int, side: int = 6) -> Path:
    pixels = np.full((lines * (side + 2) - 2, 3 * (side + 2) - 2, 3), 255, dtype=np.uint8)
    for r in range(lines):
        for i in range(3):
            pixels[r * (side + 2) : r * (side + 2) + side, i * (side + 2) : i * (side + 2) + side] = 20 * (i + 1)
    png(path, pixels)
    return path


@pytest.mark.parametrize("lines", [1, 2])
def test_frames_of_a_strip_are_found_with_their_names(tmp_path: Path, lines: int) -> None:
    path = strip(tmp_path / "strip.png", lines)
    every, chosen = frames_of(str(path), STRIP), frames_of(str(path), STRIP, STRIP.chosen)
    assert every is not None and chosen is not None
    assert [(one.label, one.x, one.width, one.height) for one in every.frames] == [
        ("first", 0, 6, 6),
        ("middle", 8, 6, 6),
        ("last", 16, 6, 6),
    ]
    assert [(one.label, one.x) for one in chosen.frames] == [("return", 16)]


def test_an_image_that_is_no_strip_is_one_picture(tmp_path: Path) -> None:
    path = tmp_path / "other.png"
    png(path, np.full((5, 22, 3), 90, dtype=np.uint8))
    whole = frames_of(str(path), STRIP)
    assert whole is not None
    (frame,) = whole.frames
    assert (frame.label, frame.width, frame.height) == ("", 22, 5)
    path.write_bytes(b"png")
    assert frames_of(str(path), STRIP) is None


def test_videos_are_of_the_best_the_middle_and_the_floor_and_of_no_other_row(tmp_path: Path) -> None:
    given = made_input(tmp_path)
    film = tmp_path / "film.mp4"
    film.write_bytes(b"film")
    case = "worlds/open-00-0/0"
    videos = [
        Video(row=row.name, seed=0, axes="", branch="return", case=case, path=str(film))
        for row in given.rows
        if row.alias_of is None
    ]
    given = replace(given, videos=videos)
    analysis = analyse(given)
    found = clips(given, analysis, ranking(analysis))
    assert found is not None
    assert (found.branch, found.case) == ("return", case)
    assert [(clip.place, clip.row) for clip in found.clips] == [
        ("best", "context-k20"),
        ("middle", "compress-length-r8"),
    ]
    assert found.clips[0].href == "data:video/mp4;base64,ZmlsbQ=="
    assert found.clips[0].poster.startswith("data:image/png;base64,")
    film.unlink()
    assert clips(given, analysis, ranking(analysis)) is None, "a folder without its videos has a page without them"
