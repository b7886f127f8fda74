"""Version of the code that runs, as `--version`, commit records and MLflow show it: `0.1.0+g8dd02c226`."""

import re

from orchestrator.host.code import CHECKOUT, PACKAGES
from orchestrator.provenance import commits_of, installed_version

COMMIT = re.compile(r"([0-9a-f]{9})[0-9a-f]*(-dirty)?")


def version() -> str:
    """The number of the last release and the commit.

    setuptools-scm has written both into an installed package; in a checkout, git knows the commit, and `.dirty` stands
    at the end where files were changed.
    """
    return version_of(installed_version(), commits_of((PACKAGES[0], CHECKOUT / PACKAGES[0])))


def version_of(installed: str, commit: str) -> str:
    """The version of an installation whose code git knows as `commit` (`provenance.commits_of`); empty: it does not."""
    known = COMMIT.fullmatch(commit)
    if known is None:
        return installed
    return f"{installed.partition('+')[0]}+g{known[1]}{'.dirty' if known[2] else ''}"
