"""Layout of a crate: the files that `export` writes and `audit` reads.

```
ro-crate-metadata.json        RO-Crate 1.1, Provenance Run Crate 0.5; size and sha256 of every other file
README.md                     for people: what this is, and how to audit it
matrix.yaml                   the matrix file, as it was
study.json                    profile, overrides, what is not done, durations: what the report needs beside results
plan.json                     every job with all that it reads, and its fingerprint
environment.json              versions that made the results and the report
commits/{fingerprint}.json    commit records
artifacts/{stage}/{fp16}/{attempt}/    manifest.json, and those files of it that the report is made from
report/                       results.csv, report.json, index.html
code/{digest}/                the code that ran
```

The sha256 of `ro-crate-metadata.json` is the digest of the crate, since that file holds those of all others.
"""

from pathlib import PurePosixPath

from orchestrator.plan.job import Job
from orchestrator.store.commits import FOLDER_DIGITS, record_name
from orchestrator.store.protocol import Commit
from workloads.contract.metrics import CASE_NAMES, CASES, METRICS

METADATA = "ro-crate-metadata.json"
README = "README.md"
MATRIX = "matrix.yaml"
STUDY = "study.json"
PLAN = "plan.json"
ENVIRONMENT = "environment.json"
COMMITS = "commits"
ARTIFACTS = "artifacts"
REPORT = "report"
CODE = "code"

VALUES = (CASES, CASE_NAMES, METRICS)
"""Files of an artifact that the report is made from, besides its images."""


def values_of(job: Job) -> list[str]:
    """The paths of these in the artifact of a job, of each of its parts too."""
    return [*VALUES, *(f"{part}/{name}" for part in job.parts if part for name in VALUES)]


VERSION = 1
"""Of `study.json` and of this layout."""


def commit_path(fingerprint: str) -> str:
    """Path of a commit record in the crate."""
    return f"{COMMITS}/{record_name(fingerprint)}"


def artifact_path(commit: Commit) -> str:
    """Path of the folder of an artifact in the crate."""
    return str(PurePosixPath(ARTIFACTS, commit.stage, commit.fingerprint[:FOLDER_DIGITS], commit.attempt))
