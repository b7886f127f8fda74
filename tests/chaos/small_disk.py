"""The fake study on a disk of two MiB: `unshare -Urm python small_disk.py PLACE`, in a mount namespace of its own.

Prints a JSON list of what happened: the disk's trouble, how the run in it ended and what it said, and the same of the
next run, after the trouble was mended.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

RIVAL = Path(__file__).parent / "rival.py"
FREE_KIB = (0, 24, 124, 200)
"""Room that is left when the run begins: at the lease, the ledger, the first artifacts, the last ones."""


def mount(*options: str) -> None:
    subprocess.run(["mount", *options], check=True)


def drive(home: Path) -> dict[str, object]:
    command = [sys.executable, str(RIVAL), str(home), "0.01", "5"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return {"code": done.returncode, "said": done.stdout}


def fill(place: Path, free_kib: int) -> Path:
    filler = place / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    os.truncate(filler, max(0, filler.stat().st_size - free_kib * 1024))
    return filler


def main(place: Path) -> None:
    mount("-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place))
    found: list[dict[str, object]] = []
    for free_kib in FREE_KIB:
        home = place / "toy"
        home.mkdir()
        filler = fill(place, free_kib)
        during = drive(home)
        filler.unlink()
        found.append({"trouble": f"{free_kib} KiB free", "during": during, "after": drive(home), "left": left(home)})
        shutil.rmtree(home)
    home = place / "toy"
    home.mkdir()
    mount("-o", "remount,ro", str(place))
    during = drive(home)
    mount("-o", "remount,rw", str(place))
    found.append({"trouble": "home read-only", "during": during, "after": drive(home), "left": left(home)})
    shutil.rmtree(home)
    (home / "store").mkdir(parents=True)
    mount("--bind", str(home / "store"), str(home / "store"))
    mount("-o", "remount,bind,ro", str(home / "store"))
    during = drive(home)
    subprocess.run(["umount", str(home / "store")], check=True)
    found.append({"trouble": "store read-only", "during": during, "after": drive(home), "left": left(home)})
    print(json.dumps(found))


def left(home: Path) -> list[str]:
    """Temporary files that nobody took away."""
    return [str(path) for path in home.rglob(".*") if path.parent.name in ("commits", "toy", "inbox")]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
