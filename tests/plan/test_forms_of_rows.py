"""A row is evaluated as it was trained: its two forms, and the configurations of its two jobs, agree field by field."""

import pytest
from own_study import own_matrix

from orchestrator.plan.build import build_plan
from orchestrator.spec.expand import expand
from orchestrator.spec.load import load_matrix, resolve_profile


@pytest.mark.parametrize("profile", ["laptop", "evening", "study", "paper"])
def test_training_and_evaluation_agree_in_every_field_but_those_with_a_reason(profile: str) -> None:
    matrix = resolve_profile(load_matrix(own_matrix()), profile, ())
    plan = build_plan(matrix, expand(matrix))
    reasons = {(one.key, row) for one in matrix.deviations for row in one.rows}
    for cell in plan.cells:
        jobs = {name: plan.jobs[job] for name, job in plan.jobs_of[cell.id].items()}
        if "train" not in jobs:
            continue  # known frames: nothing is trained
        trained = jobs["train"]
        for name, evaluated in jobs.items():
            if evaluated.stage != "evaluate":
                continue
            assert evaluated.inputs["train"] == trained.id, name
            assert "evidence" in evaluated.config  # the rest it has from the description beside the weights
            for section in trained.config.keys() & evaluated.config.keys():
                assert evaluated.config[section] == trained.config[section], (cell.id, section)
            assert evaluated.row is not None and trained.row is not None
            if cell.reference:
                continue
            differing = {
                key
                for key in trained.row.keys() | evaluated.row.keys()
                if trained.row.get(key) != evaluated.row.get(key)
            }
            allowed = {key.rpartition(".")[2] for key, row in reasons if row == cell.row}
            assert differing <= allowed, cell.id
