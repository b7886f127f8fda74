"""Images and videos of the report's input: of each row those of one seed, which is all that a page shows."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from orchestrator.reporting.artifacts import ArtifactReader
from reports.input import Strip, Video

Of = tuple[str, int, str, str]
"""Row, seed, axes and branch."""
Found = dict[tuple[Of, str], tuple[str, str]]
"""Of what, and which case -> job, and file of its artifact."""


class Pictures:
    """The images and videos of cells: named first, so that only the files that may be shown are fetched."""

    def __init__(self, reader: ArtifactReader) -> None:
        self._reader = reader
        self._images: Found = {}
        self._videos: Found = {}

    def add_images(self, of: Of, job: str, files: Iterable[tuple[str, str]]) -> None:
        """Those of a cell's job: (case, file)."""
        self._images.update(((of, case), (job, file)) for case, file in files)

    def add_videos(self, of: Of, job: str, files: Iterable[tuple[str, str]]) -> None:
        """Those of a cell's job: (case, file)."""
        self._videos.update(((of, case), (job, file)) for case, file in files)

    def shown(self) -> tuple[list[Strip], list[Video]]:
        """Of each row, branch and case those of the first seed that has one, and the images of these videos.

        Raises:
            ArtifactMissing: a file is gone, or was changed.
        """
        videos, first = _of_first_seeds(self._videos), _of_first_seeds(self._images)
        images = {at: one for at, one in self._images.items() if at in first or at in videos}
        folders = self._fetched([*images.values(), *videos.values()])
        return (
            [Strip(**_fields(*at), path=str(folders[job] / file)) for at, (job, file) in images.items()],
            [Video(**_fields(*at), path=str(folders[job] / file)) for at, (job, file) in videos.items()],
        )

    def _fetched(self, wanted: Iterable[tuple[str, str]]) -> Mapping[str, Path]:
        """Job -> folder with its files."""
        files: dict[str, list[str]] = {}
        for job, file in dict.fromkeys(wanted):
            files.setdefault(job, []).append(file)
        folders: dict[str, Path] = {}

        def fetch(job: str) -> None:
            folders[job] = self._reader.fetch(job, files[job])

        self._reader.read_ahead(fetch, ((job,) for job in files))
        return folders


def _of_first_seeds(found: Found) -> Found:
    """In the order in which they were found."""
    first: dict[tuple[str, str, str, str], tuple[Of, str]] = {}
    for of, case in found:
        row, seed, axes, branch = of
        known = first.setdefault((row, axes, branch, case), (of, case))
        if seed < known[0][1]:
            first[row, axes, branch, case] = of, case
    kept = set(first.values())
    return {at: one for at, one in found.items() if at in kept}


def _fields(of: Of, case: str) -> dict[str, Any]:
    row, seed, axes, branch = of
    return {"row": row, "seed": seed, "axes": axes, "branch": branch, "case": case}
