"""`environment.json`: the versions that made the results, and those of what wrote the report."""

import importlib.metadata
import json
import platform
from collections import Counter
from collections.abc import Iterable
from typing import Any

from orchestrator.crate.layout import VERSION
from orchestrator.plan.reported import report_spec
from orchestrator.provenance import commits_of, version
from orchestrator.reporting.rebuild import report_code
from orchestrator.spec.workload import package_of
from orchestrator.store.protocol import Commit
from orchestrator.study import Study

REPORT_LIBRARIES = ("numpy", "scipy", "matplotlib", "jinja2", "markupsafe")


def environment_of(study: Study, commits: Iterable[Commit]) -> dict[str, Any]:
    """The content of the file."""
    return {
        "version": VERSION,
        "program": version(),
        "git": commits_of(package_of(study.plan.workload_name), study.home),
        "report": {"code": report_code(report_spec(study.plan.workload)), "versions": report_versions()},
        "jobs": jobs_by_environment(commits),
    }


def jobs_by_environment(commits: Iterable[Commit]) -> list[dict[str, Any]]:
    """How many jobs of each stage ran with which code and versions on which kind of host."""
    kinds = Counter(
        json.dumps([one.stage, one.git, one.code, one.host_kind, dict(one.versions)], sort_keys=True) for one in commits
    )
    names = ("stage", "git", "code", "host_kind", "versions")
    return [
        {**dict(zip(names, json.loads(kind), strict=True)), "jobs": number} for kind, number in sorted(kinds.items())
    ]


def report_versions() -> dict[str, str]:
    """Versions of what the report is written with on this machine."""
    return {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in REPORT_LIBRARIES}
