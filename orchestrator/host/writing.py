"""JSON files that somebody else reads while they are written: whole or not at all."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write_object(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON object, whole or not at all; it need not survive the loss of power.

    Raises:
        OSError: the disk does not take it.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(json.dumps(content), encoding="utf-8")
    temporary.replace(path)
