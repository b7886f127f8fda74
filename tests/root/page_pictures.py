"""Pictures of the report's page in a browser; `python tests/root/page_pictures.py` takes those of the repository."""

import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "reports"), str(HERE.parents[1])]

from chromium import Page, chromium  # noqa: E402
from made_input import made_input  # noqa: E402
from PIL import Image  # noqa: E402

from reports.build import build  # noqa: E402

PICTURES = HERE / "pictures"
COLOURS = 128
"""Of a picture in the repository: a third of the bytes, and it looks the same."""


@dataclass(frozen=True)
class Shot:
    """One picture: the window, and where the page is scrolled to."""

    name: str
    width: int
    height: int
    scheme: str = "light"
    media: str = "screen"
    at: str = "body"


SHOTS = (
    Shot("390-light", 390, 844),
    Shot("900-light", 900, 900),
    Shot("1440-light", 1440, 900),
    Shot("1440-dark", 1440, 900, scheme="dark"),
    Shot("390-table-dark", 390, 844, scheme="dark", at="#tables"),
    Shot("900-figures", 900, 900, at="#disagree"),
    Shot("print", 1040, 735, media="print", at="#tables"),
)
"""The last one: a page of A4 across, without its margins."""


def made_report(folder: Path) -> Path:
    """The page of the made study with three seeds and strips."""
    (folder / "strips").mkdir(parents=True)
    build(folder / "report", made_input(folder / "strips", seeds=(0, 1, 2)))
    return folder / "report" / "index.html"


def take(page: Page, report: Path, folder: Path) -> Iterator[tuple[Shot, Path]]:
    """Every picture, in `folder`."""
    for shot in SHOTS:
        page.size(shot.width, shot.height)
        page.media(shot.media, shot.scheme)
        page.open(report.as_uri())
        page.evaluate(f"document.querySelector({shot.at!r}).scrollIntoView({{behavior: 'instant'}})")
        page.picture(folder / f"{shot.name}.png")
        yield shot, folder / f"{shot.name}.png"


if __name__ == "__main__":
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as made, chromium(Path(made) / "profile") as tab:
        for taken, path in take(tab, made_report(Path(made) / "made"), PICTURES):
            with Image.open(path) as picture:
                few = picture.convert("RGB").quantize(COLOURS, Image.Quantize.MAXCOVERAGE)
            few.save(path, optimize=True)
            print(taken.name, path.stat().st_size)
