"""Valid answers on disk, by what was asked: in the attempt's checkpoints, and in a folder that jobs may share.

An answer's key is a hash over the pictures, the object's name, the rubric's version, the model and the decoding
parameters, and of nothing else: not over where it was asked, so that another server with the same model may go on.
Only valid answers get here; an entry that cannot be read is no entry, and its question is asked again.

| file | content |
|---|---|
| `{work}/checkpoints/step-{n}/answers.jsonl` | the n answers so far, a line each; `manifest.json` comes last |
| `{shared}/{first two}/{key}.json` | one answer |
"""

import hashlib
import json
import shutil
import threading
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from workloads.evaluation.judge_mask import Scores
from workloads.evaluation.vlm import rubric
from workloads.evaluation.vlm.answers import Invalid, scores_of
from workloads.evaluation.vlm.asking import Spent
from workloads.evaluation.vlm.client import DECODING
from workloads.runtime import step_folders
from workloads.runtime.errors import BadInput

VERSION = 1
ANSWERS = "answers.jsonl"


@dataclass(frozen=True)
class StoredAnswer:
    """A valid answer, and what it took."""

    key: str
    scores: Scores
    spent: Spent

    def line(self) -> str:
        """As a line of JSON."""
        scores = {name: getattr(self.scores, name) for name in rubric.SCORES}
        return json.dumps({"version": VERSION, "key": self.key, "scores": scores, "spent": asdict(self.spent)})


def key_of(images: npt.NDArray[np.uint8], named: str | None, model: str) -> str:
    """The key of a question: `images` (n, h, w, 3) to `model` about the object `named`."""
    asked: Mapping[str, Any] = {
        "images": [
            hashlib.sha256(f"{i.shape}".encode() + np.ascontiguousarray(i).tobytes()).hexdigest() for i in images
        ],
        "object": named,
        "rubric": rubric.VERSION,
        "model": model,
        "decoding": dict(DECODING),
    }
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode("utf-8")).hexdigest()


def entry_from(line: str) -> StoredAnswer | None:
    """The entry of a line; None if it is not one."""
    try:
        raw = json.loads(line)
        if raw["version"] != VERSION or not isinstance(raw["key"], str):
            return None
        spent = Spent(**raw["spent"])
        if not all(isinstance(count, int) and count >= 0 for count in asdict(spent).values()):
            return None
        return StoredAnswer(raw["key"], scores_of(json.dumps(raw["scores"])), spent)
    except (ValueError, KeyError, TypeError, Invalid, RecursionError):
        return None


class Answers:
    """The answers of one attempt, with those of earlier attempts and of a shared folder. Safe in several threads."""

    def __init__(self, checkpoints: Path, fingerprint: str, shared: Path | None) -> None:
        self._checkpoints = checkpoints
        self._fingerprint = fingerprint
        self._shared = shared
        self._own: dict[str, StoredAnswer] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._own)

    def own(self, key: str) -> StoredAnswer | None:
        """An answer that this job has paid for."""
        return self._own.get(key)

    def found(self, key: str) -> StoredAnswer | None:
        """An answer of the shared folder."""
        if self._shared is None:
            return None
        try:
            entry = entry_from(self._at(self._shared, key).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return entry if entry is not None and entry.key == key else None

    def keep(self, entry: StoredAnswer) -> None:
        """Remember an answer, in a new checkpoint and in the shared folder; the first one of a key stays."""
        with self._lock:
            if entry.key in self._own:
                return
            self._own[entry.key] = entry
            self._checkpoint()
        if self._shared is not None:
            path = self._at(self._shared, entry.key)
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")  # others may be writing the same
            temporary.write_text(f"{entry.line()}\n", encoding="utf-8")
            temporary.replace(path)

    def restore(self, checkpoint: Path) -> bool:
        """Take over the answers of an earlier attempt.

        Raises:
            Damaged: its files are not what was written.
            BadInput: it is of another job.
        """
        manifest, files = step_folders.read_manifest(checkpoint)
        of_job = manifest.get("fingerprint")
        step_folders.check(checkpoint, files, [ANSWERS])
        lines = (checkpoint / ANSWERS).read_text(encoding="utf-8", errors="replace").splitlines()
        if of_job != self._fingerprint:
            raise BadInput(
                f"{checkpoint}: cannot be resumed from: it is of job {str(of_job)[:12]}; "
                "set resume to null to begin anew"
            )
        with self._lock:
            for entry in map(entry_from, lines):
                if entry is not None:
                    self._own[entry.key] = entry
        return True

    def _checkpoint(self) -> None:
        """A file of all answers is small beside a single question, so each answer makes a checkpoint."""
        step = len(self._own)
        final, temporary = self._checkpoints / f"step-{step}", self._checkpoints / f".step-{step}.tmp"
        if final.exists():
            return
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        (temporary / ANSWERS).write_text(
            "".join(f"{entry.line()}\n" for _, entry in sorted(self._own.items())), encoding="utf-8"
        )
        files = [step_folders.entry(temporary / ANSWERS)]
        manifest = {"step": step, "files": files, "fingerprint": self._fingerprint}
        step_folders.complete(temporary, final, manifest)

    @staticmethod
    def _at(shared: Path, key: str) -> Path:
        return shared / key[:2] / f"{key}.json"
