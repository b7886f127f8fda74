"""Checkpoints as folders `step-{n}`: whole once their manifest is there, and only the newest are kept."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workloads.contract.faults import point

KEPT = 2  # newest checkpoints of an attempt that stay


def complete(temporary: Path, final: Path, manifest: Mapping[str, Any]) -> None:
    """Write the manifest into `temporary`, last, call the folder `final`, and let go of all but the newest."""
    point("checkpoint.files")
    (temporary / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    point("checkpoint.manifest")
    temporary.rename(final)
    point("checkpoint.renamed")
    found = sorted(final.parent.glob("step-*"), key=lambda path: int(path.name.removeprefix("step-")))
    for old in found[:-KEPT]:
        (old / "manifest.json").unlink(missing_ok=True)  # first, so that half a folder is no checkpoint
        point("checkpoint.removing")
        shutil.rmtree(old)
