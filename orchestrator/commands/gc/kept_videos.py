"""Which videos of finished jobs go, so that no more than `keep_videos_gib` stay: the oldest that no open job reads.

Only `gc` removes them, and only of jobs of this matrix file. What was measured of them stays; a later job that reads
them has them made again (`Study.made_again`).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestrator.commands.gc.kept_results import KeptResults
from orchestrator.errors import StoreError
from orchestrator.host.machine import GIB
from orchestrator.store.commits import FOLDER_DIGITS
from orchestrator.store.manifest import manifest_content, matches
from orchestrator.store.protocol import Commit, ManifestEntry, StoredArtifact
from orchestrator.study import Study


@dataclass(frozen=True, kw_only=True)
class Videos:
    """The videos of a finished job."""

    commit: Commit
    pattern: str
    size: int
    """Bytes that are free once they are removed, after those before them."""


@dataclass(frozen=True, kw_only=True)
class FoundVideos:
    """The videos that `gc` removes, oldest first, and how many are left."""

    removable: Sequence[Videos] = ()
    """With what an earlier `gc` that was cut short has left of some."""
    left: int = 0
    """Bytes of the others; more than `keep_videos_gib` where open jobs read them."""


def find_videos(study: Study, kept: KeptResults, stored: Mapping[tuple[str, str, str], StoredArtifact]) -> FoundVideos:
    """Choose which videos go; none where the cluster file has no limit.

    Args:
        study: whose cluster file says how much is kept.
        kept: what `gc` decides about results.
        stored: artifacts by stage, digits and attempt.

    Raises:
        StoreError: the store cannot be listed.
    """
    most_gib = study.cluster.keep_videos_gib
    if most_gib is None:
        return FoundVideos()
    removed = study.store.removed()
    removable: list[Videos] = []
    whole: list[tuple[Commit, str, Sequence[ManifestEntry]]] = []
    for fingerprint in sorted(kept.here & kept.kept):
        try:
            commit = study.store.read(fingerprint)
            stage = study.plan.workload.by_name.get(commit.stage)
            pattern = "" if stage is None else stage.kept_videos
            if not pattern:
                continue
            entries = study.store.manifest(fingerprint)
        except StoreError:
            continue  # damaged: left to `run --refresh`
        if (fingerprint, commit.attempt) not in removed:
            whole.append((commit, pattern, [entry for entry in entries if matches(entry.path, [pattern])]))
            continue
        there = stored.get((commit.stage, fingerprint[:FOLDER_DIGITS], commit.attempt))
        others = sum(entry.size for entry in entries if not matches(entry.path, [pattern]))
        if there is not None and (size := there.size - others - len(manifest_content(entries))) > 0:
            removable.append(Videos(commit=commit, pattern=pattern, size=size))
    linked = study.store_location.kind == "files"  # what was taken over is there once
    shares = Counter(_place(commit, entry, linked=linked) for commit, _, entries in whole for entry in entries)
    sizes = {_place(commit, entry, linked=linked): entry.size for commit, _, entries in whole for entry in entries}
    total = sum(sizes.values())
    for commit, pattern, entries in sorted(whole, key=lambda one: (one[0].ended, one[0].fingerprint)):
        if total <= most_gib * GIB:
            break
        if commit.fingerprint in kept.read or not entries:
            continue
        places = [_place(commit, entry, linked=linked) for entry in entries]
        shares.subtract(places)
        freed = sum(sizes[place] for place in set(places) if not shares[place])
        total -= freed
        removable.append(Videos(commit=commit, pattern=pattern, size=freed))
    return FoundVideos(removable=removable, left=total)


def _place(commit: Commit, entry: ManifestEntry, *, linked: bool) -> str:
    """Equal for two files that take the disk once."""
    return entry.sha256 if linked else f"{commit.fingerprint}/{entry.path}"


def to_be_made_again(study: Study, kept: KeptResults) -> frozenset[tuple[str, str]]:
    """Digits and attempt of artifacts without a commit record whose job is about to make the removed videos again.

    The next attempt compares itself with them (`orchestrator.store.remade`).
    """
    committed = kept.kept | kept.removable
    return frozenset(
        (fingerprint[:FOLDER_DIGITS], attempt)
        for fingerprint, attempt in study.store.removed()
        if fingerprint in kept.wanted and fingerprint not in committed
    )
