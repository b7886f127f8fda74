"""Kill points of host and ranks, each once, with the real loop, host and training by two ranks with ZeRO 1.

The driver holds the host here: a point of the host ends both, a point of a rank ends one of two. The
driver's own points are driven on the fake backend (`test_driver_points`), and with Ray by `make chaos`.
"""

import json
from pathlib import Path

import pytest
from points import of_part, play_points
from proof import Proof
from s3_rounds import in_bucket
from s3_servers import credentials, seaweed
from two_ranks import TWO_RANK_JOBS, two_rank_study


@pytest.mark.long
def test_death_at_every_point_of_host_and_ranks_costs_nothing(tmp_path: Path, two_rank_reference: Proof) -> None:
    names = of_part("host", "rank")
    study = two_rank_study(tmp_path / "killed")
    record = play_points(study, two_rank_reference, names, jobs=TWO_RANK_JOBS)
    assert record.problems == [], json.dumps(record.as_json(), indent=1)
    assert len(record.kills) == len(names)


def test_a_training_goes_on_on_another_machine_that_has_nothing_but_the_bucket(
    tmp_path: Path, two_rank_reference: Proof
) -> None:
    """The first machine dies with a checkpoint uploaded; `make chaos` lets one die at each point around S3."""
    (tmp_path / "s3").mkdir()
    with credentials(), seaweed(tmp_path / "s3") as service:
        study = in_bucket(two_rank_study(tmp_path / "killed"), service)
        record = play_points(study, two_rank_reference, ["checkpoint.uploaded"], jobs=TWO_RANK_JOBS)
    assert record.problems == [], json.dumps(record.as_json(), indent=1)
    assert (record.starts, record.resumed) == (2, 1)
