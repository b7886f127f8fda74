"""A command that looks for results, or a log, that are elsewhere says so."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
from finished_study import finished_study
from recorded_run import record
from typer.testing import CliRunner

from orchestrator.cli import app
from orchestrator.commands.explain.command import explain_text
from orchestrator.commands.explain.explanation import explanation_of
from orchestrator.commands.logs.command import print_log
from orchestrator.errors import PlanError
from orchestrator.opening import reopen_study, where_it_ran
from orchestrator.schedule.ledger.database import NAME, Attempt, Ledger
from orchestrator.spec.store import StoreSettings
from orchestrator.study import Study

URL = "s3://my-bucket/studies"


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    return finished_study(tmp_path, monkeypatch)


def test_the_last_run_was_on_a_bucket_and_the_command_reads_a_folder(study: Study) -> None:
    store = StoreSettings(kind="s3", url=URL)
    there = replace(study, cluster=replace(study.cluster, store=store), cluster_file=Path("cluster/bucket.yaml"))
    record(study, 1.0, **where_it_ran(there))
    said = CliRunner().invoke(app, ["status"])
    told = (
        f"echo-matrix: the last run kept its results in {URL}/digits, this command looks in {study.home / 'store'}; "
        "to look there: --cluster bucket\n"
    )
    assert (said.exit_code, said.stderr) == (0, told)


def test_nothing_is_said_where_it_is_the_same_store_or_is_not_known(study: Study) -> None:
    record(study, 1.0, **where_it_ran(study))
    assert reopen_study(study.matrix).notice == ""
    record(study, 1.0)  # as an older version did
    assert reopen_study(study.matrix).notice == ""


def test_a_folder_has_no_old_versions(study: Study) -> None:
    said = CliRunner().invoke(app, ["gc", "--old-versions", "--dry-run"])
    assert (said.exit_code, said.stdout) == (0, "nothing to remove\n")
    assert said.stderr == f"echo-matrix: {study.home / 'store'} is a folder, and keeps no old versions\n"


def test_the_log_of_an_attempt_of_another_outputs_folder_is_told_and_not_named(study: Study) -> None:
    job = next(job for job in study.plan.jobs.values() if job.label == "train/mlp/s0")
    attempt = Attempt(
        id="a001",
        fingerprint=job.fingerprint,
        job=job.id,
        label=job.label,
        stage=job.stage,
        host="",
        intended=1.0,
        ending="ok",
        detail="rebuilt from its commit record",
    )
    with Ledger.open(study.home / NAME) as ledger:
        ledger.record_intent(attempt)
    with pytest.raises(PlanError, match=r"attempt a001 has no folder .*: it ran with another outputs folder"):
        print_log(study, attempt, sys.stdout)
    assert "log:" not in explain_text(explanation_of(study, job))
