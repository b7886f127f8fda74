"""docs/reference/ is what the code declares, and every key, state and ending has its meaning in words."""

from typing import get_args

import pytest
from write_reference import FOLDER, WRITTEN, key_table, keys_of, meanings, pages, top_keys

from orchestrator.backends.protocol import ENDING_MEANINGS, Ending
from orchestrator.backends.registry import backends
from orchestrator.plan.job import STATE_MEANINGS, State
from orchestrator.spec.cell import Deviation, Resources
from orchestrator.spec.cluster import Cluster
from orchestrator.spec.exclusion import Exclusion
from orchestrator.spec.schema import Axis, Matrix, Profile
from workloads.contract.fields import section_kinds
from workloads.study.workload import WORKLOAD

SECTIONS = [
    *(section for top in (WORKLOAD.controls, WORKLOAD.branches) for section in section_kinds(top).values()),
    *WORKLOAD.families,
    *(Axis, Deviation, Profile, Resources, Cluster),
    *(plugin.settings for plugin in backends().values()),
]


@pytest.mark.parametrize("name", pages())
def test_a_page_is_what_the_code_says(name: str) -> None:
    assert (FOLDER / name).read_text(encoding="utf-8") == pages()[name], "out of date: run `make reference`"


def test_no_other_page_says_that_it_is_written_from_the_code() -> None:
    written = {path.name for path in FOLDER.iterdir() if WRITTEN in path.read_text(encoding="utf-8")}
    assert written == set(pages())


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.__name__)
def test_every_key_says_what_it_means(section: type) -> None:
    assert [key.name for key in keys_of(section) if not key.meaning] == [], "write a docstring below the field"


def test_every_key_at_the_top_of_a_matrix_says_what_it_means() -> None:
    fields = {"workload": "workload_name", WORKLOAD.rows_key: "rows"}
    words = {**meanings(Matrix), **meanings(Exclusion)}
    assert [key for key in top_keys(WORKLOAD) if not words.get(fields.get(key, key))] == []


def test_every_state_and_every_ending_is_explained() -> None:
    assert list(STATE_MEANINGS) == list(get_args(State))
    assert list(ENDING_MEANINGS) == list(get_args(Ending))


def test_a_key_is_shown_with_its_type_its_default_and_its_meaning() -> None:
    lines = key_table(keys_of(Resources)).splitlines()
    assert lines[2] == "| `cpus` | whole number, 1 and more | required | Processors. |"
    ranks = "| `ranks` | whole number, 1 and more, or `null` | `null` | Processes that share the job;"
    assert any(line.startswith(ranks) for line in lines)
