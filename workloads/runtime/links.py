"""Second names of files: what is in two places of a disk is there once."""

import os
import shutil
from pathlib import Path


def link(source: Path, target: Path) -> None:
    """Give a file a second name, in place of what is there, or copy it where that cannot be."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without hard links
        shutil.copyfile(source, target)
