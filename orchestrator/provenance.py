"""Provenance of the code that runs: its version, and the git commits of this package and of a workload elsewhere.

Git is believed only where it tracks the very files that run: an environment may lie inside another repository, and
`GIT_DIR` may name any.
"""

import importlib.metadata
import os
import re
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from orchestrator.host.code import CHECKOUT, LOCK, PACKAGES, Package

DISTRIBUTION = "echo-matrix"
BUILT_FROM = re.compile(r"\+g([0-9a-f]{7,40})")
FULL_COMMIT = re.compile(r"([0-9a-f]{9})[0-9a-f]*(-dirty)?")
"""What `commits_of` returns for this package alone."""
UNKNOWN = "0+unknown"
"""Version of code that is not installed."""
ANSWER_S = 30.0
UNREADABLE = "unknown (the folder of another user)"
"""In place of a commit that git refuses to show."""


def commits_of(workload: Package, home: Path | None = None, say: Callable[[str], object] = lambda _text: None) -> str:
    """The commit of this checkout, and that of a workload's package in another repository behind its name.

    `-dirty` stands where files of the package were changed or added; a part is left out where git does not track them.

    Args:
        workload: name and place of its package.
        home: `outputs/{study}`, which is no code where it lies inside the package.
        say: is told where git refuses to answer.
    """
    ours = _describe(CHECKOUT, [CHECKOUT / name for name in (*PACKAGES, LOCK)], Path(__file__), home, say)
    if not ours and (built := BUILT_FROM.search(installed_version())):
        ours = built[1]
    name, place = workload
    if name in PACKAGES:
        return ours
    folder = place if place.is_dir() else place.parent
    theirs = _describe(folder, [place], place if place.is_file() else _a_module(place), home, say)
    return ours if theirs in ("", ours) else f"{ours} {name}:{theirs}".strip()


def installed_version() -> str:
    """The version in the metadata of the package, with the commit that it was built from: `0.1.0+g8dd02c226`.

    An editable installation has the commit of the day on which it was made, which is left out.
    """
    try:
        found = importlib.metadata.distribution(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        return UNKNOWN
    is_copy = Path(str(found.locate_file(PACKAGES[0]))).resolve() == CHECKOUT / PACKAGES[0]
    return found.version if is_copy else found.version.partition("+")[0]


def version() -> str:
    """The number of the last release and the commit.

    setuptools-scm has written both into an installed package; in a checkout, git knows the commit, and `.dirty` stands
    at the end where files were changed.
    """
    return version_of(installed_version(), commits_of((PACKAGES[0], CHECKOUT / PACKAGES[0])))


def version_of(installed: str, commit: str) -> str:
    """The version of an installation whose code git knows as `commit` (`commits_of`); empty: it does not."""
    known = FULL_COMMIT.fullmatch(commit)
    if known is None:
        return installed
    return f"{installed.partition('+')[0]}+g{known[1]}{'.dirty' if known[2] else ''}"


def _describe(folder: Path, code: Sequence[Path], file: Path, home: Path | None, say: Callable[[str], object]) -> str:
    """The commit of the repository that tracks `file`, and whether any of `code` differs from it; empty: none does."""
    tracked = _git(folder, "ls-files", "--error-unmatch", "--", str(file))
    if tracked is None:
        return ""
    if "dubious ownership" in tracked.stderr:
        say(
            f"the commit of {folder} is not recorded: the folder belongs to another user, so git does not read it; "
            f"if you trust it: git config --global --add safe.directory {_top(folder)}"
        )
        return UNREADABLE
    commit = _git(folder, "rev-parse", "--verify", "HEAD") if tracked.returncode == 0 else None
    if commit is None or commit.returncode:
        return ""
    return commit.stdout.strip() + ("-dirty" if _is_changed(folder, code, home) else "")


def _is_changed(folder: Path, code: Sequence[Path], home: Path | None) -> bool:
    """Whether a file of the code was changed since the commit, or a module is not in it."""
    places = [str(place) for place in code if place.exists()]
    changed = _git(folder, "diff", "--quiet", "HEAD", "--", *places)
    if changed is None or changed.returncode:
        return True
    added = _git(folder, "ls-files", "--others", "--exclude-standard", "--full-name", "-z", "--", *places)
    if added is None or added.returncode:
        return True
    outputs = None if home is None else home.resolve().parent
    top = _top(folder).resolve()
    paths = [top / name for name in added.stdout.split("\0") if name.endswith(".py")]
    return any(outputs is None or outputs not in path.parents for path in paths)


def _a_module(package: Path) -> Path:
    """A file by which to tell whether a package is tracked."""
    return next((path for path in (package / "__init__.py", *sorted(package.glob("*.py"))) if path.is_file()), package)


def _top(folder: Path) -> Path:
    """The folder of the repository that `folder` is in."""
    return next((one for one in (folder, *folder.parents) if (one / ".git").exists()), folder)


def _git(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str] | None":
    """What git answers in `folder`, without the variables that lead it elsewhere; None: it cannot be asked."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        return subprocess.run(
            ["git", "-C", str(folder), *arguments],
            env={**environment, "LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0"},
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
            timeout=ANSWER_S,
        )
    except (OSError, subprocess.SubprocessError):
        return None
