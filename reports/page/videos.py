"""Videos of the best, the middle and the reference rows, embedded in the page, each with a poster."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.image import imread, imsave

from reports.analysis import Analysis
from reports.input import ReportInput, Video
from reports.page.frames import frames_of
from reports.page.shown import shown_rows
from reports.page.strips import chosen
from reports.ranking import Ranking
from reports.spec import ImageSpec
from reports.statistics.panel import row_label

MOST_BYTES = 1 << 20
"""Of all videos of a page together; those that do not fit are left out, last ones first."""


@dataclass(frozen=True, kw_only=True)
class Clip:
    """A video of one row."""

    row: str
    place: str
    """Why it is shown, as of `shown_rows`."""
    href: str
    """A `data:` address of the MP4."""
    poster: str
    """Of a PNG; empty: there is none."""


@dataclass(frozen=True, kw_only=True)
class Clips:
    """All of one case."""

    branch: str
    case: str
    clips: Sequence[Clip]


def shown_videos(given: ReportInput, analysis: Analysis, found: Ranking | None) -> list[tuple[str, Video]]:
    """(why it is shown, video) of the branch that answers, all of one case: that of the images if it has videos."""
    if found is None:
        return []
    branch = found.last.branch
    by_case: dict[str, dict[str, Video]] = {}
    for video in sorted((one for one in given.videos if one.branch == branch), key=lambda one: one.seed):
        by_case.setdefault(video.case, {}).setdefault(row_label(video.row, video.axes), video)
    if not by_case:
        return []
    of_images = next((case for name, case, _ in chosen(given, analysis) if name == branch), "")
    case = of_images if of_images in by_case else min(by_case, key=lambda one: (-len(by_case[one]), one))
    return [(place, by_case[case][row]) for row, place in shown_rows(analysis, found) if row in by_case[case]]


def clips(given: ReportInput, analysis: Analysis, found: Ranking | None) -> Clips | None:
    """The videos that are there and fit into the page; None: there are none."""
    shown, left = [], MOST_BYTES
    videos = shown_videos(given, analysis, found)
    for place, video in videos:
        path = Path(video.path)
        if not path.is_file() or path.stat().st_size > left:
            continue
        content = path.read_bytes()
        left -= len(content)
        shown.append(
            Clip(
                row=row_label(video.row, video.axes),
                place=place,
                href=f"data:video/mp4;base64,{base64.b64encode(content).decode('ascii')}",
                poster=_poster(given, analysis, video),
            )
        )
    return Clips(branch=videos[0][1].branch, case=videos[0][1].case, clips=shown) if shown else None


def _poster(given: ReportInput, analysis: Analysis, video: Video) -> str:
    """The last chosen picture of the strip of the same case: what the video ends with."""
    spec = analysis.spec.images or ImageSpec()
    same = [
        strip
        for strip in given.strips
        if (strip.row, strip.seed, strip.axes, strip.branch, strip.case)
        == (video.row, video.seed, video.axes, video.branch, video.case)
    ]
    found = frames_of(same[0].path, spec, spec.chosen) if same else None
    if found is None:
        return ""
    frame = found.frames[-1]
    picture = np.ascontiguousarray(imread(same[0].path)[: frame.height, frame.x : frame.x + frame.width, :3])
    out = io.BytesIO()
    imsave(out, picture, format="png", metadata={"Software": ""})  # else matplotlib writes its version
    return f"data:image/png;base64,{base64.b64encode(out.getvalue()).decode('ascii')}"
