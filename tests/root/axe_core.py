"""axe-core, which finds what a screen reader or a keyboard cannot use; `python axe_core.py` fetches it from npm.

It is used by tests alone, and is not part of this repository.
"""

import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

VERSION = "4.14.1"
SHA256 = "e6b0ce02b84d892e2e33e403485e7f3d6c29e2be6df65daf44d89ba564139745"
"""Of the package."""
SCRIPT = Path(__file__).resolve().parents[2] / "build" / f"axe-core-{VERSION}.min.js"


def install() -> None:
    """Fetch the package, unless it is there; its script is kept in `build/`."""
    if SCRIPT.is_file():
        return
    npm = shutil.which("npm")
    if npm is None:
        sys.exit("axe-core is fetched by npm, which is not installed; try: apt-get install npm")
    with tempfile.TemporaryDirectory() as folder:
        packed = ["pack", "--silent", "--pack-destination", folder, f"axe-core@{VERSION}"]
        subprocess.run([npm, *packed], check=True, stdout=subprocess.DEVNULL, timeout=300)
        archive = Path(folder) / f"axe-core-{VERSION}.tgz"
        found = hashlib.sha256(archive.read_bytes()).hexdigest()
        if found != SHA256:
            sys.exit(f"axe-core {VERSION} has the sha256 {found}; expected: {SHA256}")
        with tarfile.open(archive) as packed_files:
            script = packed_files.extractfile("package/axe.min.js")
            assert script is not None
            SCRIPT.parent.mkdir(exist_ok=True)
            SCRIPT.write_bytes(script.read())


if __name__ == "__main__":
    install()
