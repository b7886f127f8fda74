"""A guard for processes of one node: what is not the node's to see is not there for it, and each try is written down.

`write_guard` makes a `sitecustomize.py`, which each Python process imports that has its folder on PYTHONPATH.
"""

from collections.abc import Sequence
from pathlib import Path

GUARD = """
import os
import sys

UNSEEN = {unseen!r}
RECORD = {record!r}
EVENTS = {{
    "open", "os.listdir", "os.scandir", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink",
    "os.chmod", "os.utime", "os.truncate", "shutil.copyfile", "shutil.move", "shutil.rmtree",
}}


def guard(event, arguments):
    if event not in EVENTS:
        return
    for argument in arguments[:2]:
        if isinstance(argument, (str, bytes, os.PathLike)):
            path = os.path.abspath(os.fsdecode(argument))
            if path.startswith(UNSEEN):
                if "/.seen-" not in path:  # the look by which a node finds out what it sees
                    with open(RECORD, "a") as record:
                        record.write(f"{{event}} {{path}} by {{sys.argv}}\\n")
                raise FileNotFoundError(2, "No such file or directory", path)


sys.addaudithook(guard)
"""


def write_guard(folder: Path, unseen: Sequence[Path]) -> Path:
    """Write the guard into `folder`; returns where the tries are written down, a file that appears with the first."""
    record = folder / "tried.txt"
    folder.mkdir(parents=True)
    text = GUARD.format(unseen=tuple(str(path) for path in unseen), record=str(record))
    (folder / "sitecustomize.py").write_text(text, encoding="utf-8")
    return record
