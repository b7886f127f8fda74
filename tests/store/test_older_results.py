"""What users are told of results that an older version made."""

import hashlib

from orchestrator.store.older_results import older_results
from orchestrator.store.protocol import PROGRAM, VERSION, Commit


def record(name: str, version: int, made_by: str = "0.0.9", ended: float = 2.0) -> Commit:
    digest = hashlib.sha256(name.encode()).hexdigest()
    return Commit(
        fingerprint=digest,
        attempt="a001",
        stage="data",
        branch=None,
        job="data/1",
        label="data",
        manifest=digest,
        inputs={},
        code="",
        git="",
        versions={PROGRAM: made_by},
        host_kind="",
        started=1.0,
        ended=ended,
        version=version,
    )


OLD = {one.fingerprint: one for one in (record("a", 1, "0.0.8", 1.0), record("b", 1), record("c", 1))}


def test_results_of_an_older_version_are_told_in_one_sentence() -> None:
    found = older_results(frozenset(OLD), frozenset({"f" * 64}), OLD.get)
    assert str(found) == (
        "the store has 3 results of echo-matrix 0.0.9, whose fingerprints mean something else, so this study starts "
        "anew; they stay where they are: echo-matrix 0.0.9 shows and exports them (`results`, `export`)"
    )


def test_nothing_is_told_once_the_study_has_begun_or_of_another_plan_of_this_version() -> None:
    new = record("d", VERSION)
    assert older_results(frozenset(), frozenset(), OLD.get) is None
    assert older_results(frozenset(OLD), frozenset(list(OLD)[:1]), OLD.get) is None
    assert older_results(frozenset({new.fingerprint}), frozenset(), {new.fingerprint: new}.get) is None
    assert older_results(frozenset(OLD), frozenset(), lambda _name: None) is None, "records that cannot be read"
