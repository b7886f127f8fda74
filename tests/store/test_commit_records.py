"""Commit records of earlier versions are read, and those of later ones are not."""

import json
from dataclasses import asdict

import pytest

from orchestrator.errors import StoreError
from orchestrator.store.commits import commit_from, content_of
from orchestrator.store.lineage import is_recognised, made_in
from orchestrator.store.protocol import VERSION, Commit
from orchestrator.testing.stores import FINGERPRINT, commit_with_items, make_commit

SINCE_VERSION_2 = ("items", "measured", "taken", "origins")


def written(commit: Commit, **changed: object) -> bytes:
    record = {**asdict(commit), "manifest": "7" * 64, **changed}
    return json.dumps(record).encode()


def test_a_record_of_version_1_has_no_items() -> None:
    record = json.loads(written(make_commit("a001-x"), version=1))
    content = json.dumps({name: value for name, value in record.items() if name not in SINCE_VERSION_2}).encode()
    commit = commit_from(content, FINGERPRINT, "a record")
    assert (commit.version, commit.items, commit.measured, commit.taken, commit.origins) == (1, {}, "", {}, {})


def test_a_record_of_version_2_is_written_as_it_was_read() -> None:
    content = written(commit_with_items("a001-x"))
    commit = commit_from(content, FINGERPRINT, "a record")
    assert json.loads(content_of(commit)) == json.loads(content)
    assert commit.version == VERSION == 2


def test_a_record_of_a_later_version_is_refused() -> None:
    with pytest.raises(StoreError, match=r"a record: version is '3', this code reads 2"):
        commit_from(written(make_commit("a001-x"), version=3), FINGERPRINT, "a record")


def test_an_item_was_made_where_its_record_says_or_in_its_own_artifact() -> None:
    commit = commit_from(written(commit_with_items("a001-x")), FINGERPRINT, "a record")
    assert made_in(commit, ["scene-1", "scene-2"]) == {"scene-1": "6" * 64, "scene-2": "7" * 64}


def test_a_job_that_took_time_has_run_whatever_it_took_over() -> None:
    commit = commit_with_items("a001-x")
    assert not is_recognised(commit)
    assert is_recognised(commit_from(written(commit, ended=commit.started), FINGERPRINT, "a record"))
    assert not is_recognised(commit_from(written(make_commit("a"), ended=1.5), FINGERPRINT, "a record"))
