"""Checkpoints in the store: another machine, with another disk, resumes from them.

While an attempt runs, a thread of its node uploads every new complete checkpoint, so that a node that is lost costs
the work since the last one, as with a shared folder. Before an attempt starts, its node downloads what it lacks, into
the place that a shared folder would have: the job itself sees no difference.
"""

import contextlib
import os
import secrets
import shutil
import threading
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.errors import ArtifactMissing, StoreError
from orchestrator.host.checkpoints import (
    KEPT_CHECKPOINTS,
    CheckpointRef,
    JobCheckpoints,
    attempt_folder,
    is_complete,
    newest_checkpoint,
    step_of,
)
from orchestrator.host.retry import retry_call
from orchestrator.store.commits import PLAIN_NAME
from orchestrator.store.protocol import CheckpointStore, StoredCheckpoint
from workloads.runtime.fault_points import point

LOOK_S = 2.0
"""Between two looks for new checkpoints."""
LAST_UPLOAD_S = 60.0
"""How long the last upload of an attempt that ends is retried."""


def bring_checkpoints(stored: CheckpointStore, home: Path, fingerprint: str, *, whole: bool) -> CheckpointRef | None:
    """Download the checkpoints of a job that this machine lacks; returns the newest complete one on this machine.

    Args:
        stored: of the study.
        home: `outputs/{study}` on this machine.
        fingerprint: of the job.
        whole: each checkpoint is complete by itself, so only the newest is needed; otherwise each holds a part.

    Raises:
        OSError, StoreError: the store does not respond, or the disk cannot be written.
    """
    for one in stored.complete(fingerprint):
        if not PLAIN_NAME.fullmatch(one.attempt):  # who may write to the store names it, and it becomes a folder here
            continue
        if whole and one.step <= step_of(newest_checkpoint(home, fingerprint)):
            break
        folder = attempt_folder(home, fingerprint, one.attempt) / "checkpoints" / f"step-{one.step}"
        if is_complete(folder):
            continue
        with contextlib.suppress(ArtifactMissing):  # damaged, or just deleted: an older one, or from the start
            _download(stored, one, folder)
    return newest_checkpoint(home, fingerprint)


def offer_checkpoint(stored: CheckpointStore, fingerprint: str, newest: CheckpointRef) -> None:
    """Upload a checkpoint on this machine, unless it is stored: other nodes of the attempt are to download it.

    Raises:
        OSError, StoreError: the store does not respond.
    """
    one = StoredCheckpoint(fingerprint=fingerprint, attempt=newest.attempt, step=newest.step)
    if one not in stored.complete(fingerprint):
        stored.upload(one, newest.path)


def bring_checkpoint(stored: CheckpointStore, home: Path, fingerprint: str, there: Path) -> Path:
    """The checkpoint that the leading node has at `there`, on this machine; downloaded if it is not here yet.

    Raises:
        ArtifactMissing: the store does not have it.
        OSError, StoreError: the store does not respond, or the disk cannot be written.
    """
    attempt, step = there.parent.parent.name, int(there.name.removeprefix("step-"))
    folder = attempt_folder(home, fingerprint, attempt) / "checkpoints" / there.name
    if not is_complete(folder):
        _download(stored, StoredCheckpoint(fingerprint=fingerprint, attempt=attempt, step=step), folder)
    return folder


def _download(stored: CheckpointStore, one: StoredCheckpoint, folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.tmp")
    try:
        stored.download(one, temporary)
        point("checkpoint.downloaded")
        if is_complete(folder):
            return  # another node of the attempt, on this machine, was faster
        shutil.rmtree(folder, ignore_errors=True)  # torn
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@dataclass(kw_only=True)
class _Watched:
    """An attempt whose checkpoints are uploaded."""

    fingerprint: str
    attempt: str
    work: Path
    whole: bool
    uploaded: set[int] = field(default_factory=set)
    """Steps."""
    lock: threading.Lock = field(default_factory=threading.Lock)
    """Held during an upload: the last one waits for one that is in progress."""


class CheckpointUploader:
    """Uploads the checkpoints of a node's attempts, in a thread; `close` ends it."""

    def __init__(self, stored: CheckpointStore) -> None:
        self._stored = stored
        self._attempts: dict[str, _Watched] = {}
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._upload_until_closed, name="checkpoints", daemon=True)
        self._thread.start()

    def watch(self, attempt: str, work: Path, fingerprint: str, *, whole: bool) -> None:
        """Upload new checkpoints in `work` from now on.

        Args:
            attempt: its id.
            work: its folder.
            fingerprint: of its job.
            whole: each checkpoint is complete by itself: older ones are deleted.
        """
        self._attempts[attempt] = _Watched(fingerprint=fingerprint, attempt=attempt, work=work, whole=whole)

    def last_upload(self, attempt: str) -> None:
        """Upload what an attempt that did not end well has left, for the next one; does nothing for an unknown one.

        Raises:
            OSError, StoreError: it could not be uploaded; the folder of the attempt still has it.
        """
        watched = self._attempts.pop(attempt, None)
        if watched is not None:
            retry_call(lambda: self._upload(watched), for_s=LAST_UPLOAD_S, abandoned=self._closed.is_set)

    def job_done(self, attempt: str) -> None:
        """Delete all checkpoints of an attempt's job, which is completed; what is left `gc` finds."""
        watched = self._attempts.pop(attempt, None)
        if watched is not None:
            with watched.lock, contextlib.suppress(OSError, StoreError):
                self._stored.drop(watched.fingerprint)

    def forget(self, attempt: str) -> None:
        """Upload nothing more of an attempt."""
        self._attempts.pop(attempt, None)

    def close(self) -> None:
        """End the thread; an upload that is in progress is left behind."""
        self._closed.set()

    def _upload_until_closed(self) -> None:
        while not self._closed.wait(LOOK_S):
            for watched in list(self._attempts.values()):
                with contextlib.suppress(OSError, StoreError):  # the next look tries again
                    self._upload(watched)

    def _upload(self, watched: _Watched) -> None:
        with watched.lock:
            home = watched.work.parents[2]
            found = JobCheckpoints(home, watched.fingerprint, watched.attempt).complete()
            for one in found[-1:] if watched.whole else found:
                if one.step not in watched.uploaded:
                    self._upload_one(watched, one.path, one.step)

    def _upload_one(self, watched: _Watched, folder: Path, step: int) -> None:
        """Upload one checkpoint from hard links to its files, since the job may delete it meanwhile."""
        links = watched.work / f".upload-step-{step}"
        shutil.rmtree(links, ignore_errors=True)
        try:
            shutil.copytree(folder, links, copy_function=os.link)
            if is_complete(links):
                one = StoredCheckpoint(fingerprint=watched.fingerprint, attempt=watched.attempt, step=step)
                self._stored.upload(one, links)
                point("checkpoint.uploaded")
                watched.uploaded.add(step)
                if watched.whole:
                    self._stored.drop(watched.fingerprint, keep=KEPT_CHECKPOINTS)
        except (FileNotFoundError, shutil.Error):  # deleted while it was linked: a newer one is there
            return
        finally:
            shutil.rmtree(links, ignore_errors=True)
