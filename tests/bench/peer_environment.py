"""The peers: what they import, and an environment of their own, build/bench-peers, for those of the extra `bench`.

These cannot be installed beside this repository: they need other versions of what it needs too.
"""

import json
import os
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Mapping
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
FOLDER = ROOT / "build" / "bench-peers"
ENVIRONMENT: Mapping[str, str] = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (HERE, ROOT)))}
"""Of a peer's processes, which import the step by its name."""


def wanted() -> list[str]:
    """The peers with their versions."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        found: list[str] = tomllib.load(file)["project"]["optional-dependencies"]["bench"]
    return found


def peers() -> Path:
    """The interpreter of the peers; installs them where they are missing or other versions are asked for.

    It sees this repository's packages after its own, so that a peer's job imports the same torch.
    """
    python, installed = FOLDER / "bin" / "python", FOLDER / "installed.json"
    listed = json.dumps(wanted())
    if not installed.is_file() or installed.read_text(encoding="utf-8") != listed:
        subprocess.run([sys.executable, "-m", "venv", "--clear", FOLDER], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *wanted()], check=True)
        inside = next((FOLDER / "lib").glob("python*/site-packages"))
        (inside / "after.pth").write_text("\n".join(_packages()) + "\n", encoding="utf-8")
        installed.write_text(listed, encoding="utf-8")
    return python


def _packages() -> list[str]:
    """Folders that this interpreter imports packages from."""
    own = sysconfig.get_path("purelib")
    return [own, *(path for path in sys.path if path.endswith("site-packages") and path != own)]
