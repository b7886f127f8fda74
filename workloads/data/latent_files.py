"""Writing the latents of a pool scene by scene, so that a later attempt can go on where this one was stopped.

A checkpoint `checkpoints/step-{scenes done}/` holds hard links to what is written already, and last `manifest.json`:
`{"step", "files": [{"path", "size"}], "fingerprint", "digests"}`. Scenes are done in one order, so their number tells
which. A scene's own files are never changed once written; `latents.npy`, one file of all scenes, is filled in place, so
a later attempt copies it, and relies on no more of it than the scenes that were done. `digests` says what each scene's
latents are: from the first that differs on, scenes are encoded again. Files of text have their sha256 in `files`.

Source: design, Truth and recovery, 5.
"""

import hashlib
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from workloads.data.latents import has_clips
from workloads.runtime import step_folders
from workloads.runtime.errors import BadInput
from workloads.runtime.links import link

FLAT = "latents.npy"
STORED = np.float16
"""Of latents that a network made, standardised to unit variance; of an exact codec they stay float32."""


class LatentFiles:
    """The latents of `out`; scenes are written in the order of `spans`."""

    def __init__(
        self, out: Path, spans: Mapping[str, tuple[int, int]], time_factor: int, latent: Sequence[int]
    ) -> None:
        """Latents of shape `latent` (c, h, w) for scenes of (first frame, frames)."""
        self._out = out
        self._spans = spans
        self._latent = tuple(latent)
        self._clips = has_clips(time_factor)
        self._digests: dict[str, str] = {}
        self._flat: npt.NDArray[np.float32] | None = None
        if not self._clips:
            total = sum(count for _, count in spans.values())
            mode: Any = "r+" if (out / FLAT).is_file() else "w+"
            shape = (total, *self._latent)
            self._flat = np.lib.format.open_memmap(out / FLAT, mode=mode, dtype=np.float32, shape=shape)

    def write(
        self, scene: str, evidence: Iterable[npt.NDArray[np.float32]], clips: npt.NDArray[np.float16] | None
    ) -> None:
        """Write one scene.

        Args:
            evidence: blocks (k, c, h, w) that follow one another, one latent for each frame.
            clips: (segments, t, c, h, w), or None where there are none.

        Raises:
            BadInput: a latent that is not finite.
        """
        first, count = self._spans[scene]
        if self._flat is not None:
            at = first
            for block in evidence:
                self._flat[at : at + len(block)] = block
                at += len(block)
            assert at == first + count
            self._digests[scene] = hashlib.sha256(self._flat[first:at].tobytes()).hexdigest()
            return
        digest = hashlib.sha256()
        stored = np.empty((count, *self._latent), dtype=STORED)
        at = 0
        for block in evidence:
            stored[at : at + len(block)] = block
            at += len(block)
        assert at == count
        for kind, values in (("evidence", stored), ("clips", clips)):
            if values is None:
                continue
            if not np.isfinite(values).all():
                raise BadInput(
                    f"latents of scene {scene}: not finite in float16; the codec's weights or the frames are not usable"
                )
            digest.update(values.tobytes())
            path = self._out / kind / f"{scene}.npy"
            path.parent.mkdir(exist_ok=True)
            temporary = path.with_name(f".{path.name}.tmp")
            with temporary.open("wb") as file:
                np.save(file, values, allow_pickle=False)
            temporary.replace(path)
        self._digests[scene] = digest.hexdigest()

    def digest(self) -> str:
        """sha256 of all latents; of the scenes' own digests where they have files of their own."""
        digest = hashlib.sha256()
        for scene, (first, count) in self._spans.items():
            if self._flat is not None:
                digest.update(self._flat[first : first + count].tobytes())
            else:
                digest.update(self._digests[scene].encode("ascii"))
        return digest.hexdigest()

    def flush(self) -> None:
        """Bring what is mapped to disk."""
        if isinstance(self._flat, np.memmap):
            self._flat.flush()

    def write_checkpoint(self, checkpoints: Path, done: int, fingerprint: str) -> None:
        """Make a checkpoint of what is in `out` after `done` scenes, then let go of all but the two newest."""
        final, temporary = checkpoints / f"step-{done}", checkpoints / f".step-{done}.tmp"
        if final.exists():
            return
        self.flush()
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        files = []
        for path in sorted(self._out.rglob("*.npy")):
            if path.name.startswith("."):
                continue
            name = path.relative_to(self._out)
            link(path, temporary / name)
            is_text = name.name.startswith("text")
            files.append(step_folders.entry(path) if is_text else {"path": str(name), "size": path.stat().st_size})
        manifest = {"step": done, "files": files, "fingerprint": fingerprint, "digests": self._digests}
        step_folders.complete(temporary, final, manifest)

    def take_digests(self, digests: Mapping[str, str]) -> None:
        """Remember the digests of scenes that an earlier attempt wrote."""
        self._digests.update(digests)


def restore(
    checkpoint: Path, out: Path, fingerprint: str, spans: Mapping[str, tuple[int, int]]
) -> tuple[int, dict[str, str]]:
    """Take what is intact of an earlier attempt's checkpoint over into `out`; (scenes done, their digests).

    Args:
        spans: scenes in their order, (first frame, frames) of each.

    Raises:
        Damaged: its manifest or its text is not what was written.
        BadInput: it is of another job.
    """
    manifest, files = step_folders.read_manifest(checkpoint)
    of_job = str(manifest.get("fingerprint"))
    if of_job != fingerprint:
        raise BadInput(
            f"{checkpoint}: cannot be resumed from: it is of job {of_job[:12]}; set resume to null to begin anew"
        )
    text = [name for name in files if name.startswith("text")]
    step_folders.check(checkpoint, files, text)
    listed = {str(scene): str(digest) for scene, digest in dict(manifest.get("digests", {})).items()}
    digests: dict[str, str] = {}
    for scene, span in list(spans.items())[: int(manifest["step"])]:
        try:
            found = _digest(checkpoint, scene, span, flat=FLAT in files)
        except (OSError, ValueError) as error:
            found = f"unreadable: {error}"
        if found != listed.get(scene):
            print(f"{checkpoint}: the latents of {scene} are damaged; encoding goes on from there", flush=True)
            break
        digests[scene] = found
    kept = {FLAT, *text, *(f"{kind}/{scene}.npy" for scene in digests for kind in ("evidence", "clips"))}
    for name in sorted(kept & files.keys()):
        if name == FLAT:
            shutil.copyfile(checkpoint / name, out / name)
        else:
            link(checkpoint / name, out / name)
    return len(digests), digests


def _digest(checkpoint: Path, scene: str, span: tuple[int, int], *, flat: bool) -> str:
    """As `LatentFiles` remembers a scene's."""
    digest = hashlib.sha256()
    if flat:
        stored = np.load(checkpoint / FLAT, mmap_mode="r", allow_pickle=False)
        digest.update(stored[span[0] : span[0] + span[1]].tobytes())
        return digest.hexdigest()
    for kind in ("evidence", "clips"):
        path = checkpoint / kind / f"{scene}.npy"
        if kind == "evidence" or path.is_file():  # scenes that are not trained on have no clips
            digest.update(np.load(path, mmap_mode="r", allow_pickle=False).tobytes())
    return digest.hexdigest()
