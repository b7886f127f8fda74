"""Which files of a finished job's artifact a tracker shows; the others, such as weights, are not fetched for it."""

from collections.abc import Iterable
from fnmatch import fnmatchcase
from glob import escape
from pathlib import PurePosixPath

from orchestrator.store.protocol import ManifestEntry
from workloads.contract.workload import StageSpec

ALWAYS = ("cases.jsonl", "cases.json", "metrics.jsonl")
"""Values of cases, their names, and values by step."""


def shown_files(spec: StageSpec, manifest: Iterable[ManifestEntry]) -> list[str]:
    """Patterns for `Store.fetch_files`: the files of an artifact that a tracker shows, each by its whole name.

    Args:
        spec: of the job's stage, which declares them.
        manifest: of the artifact.
    """
    paths = sorted(entry.path for entry in manifest)
    shown = {path for path in paths if path in ALWAYS}
    for folder, pattern, most in spec.files:
        inside = [
            path
            for path in paths
            if PurePosixPath(path).parent == PurePosixPath(folder) and fnmatchcase(PurePosixPath(path).name, pattern)
        ]
        shown.update(inside[:most])
    return [escape(path) for path in sorted(shown)]
