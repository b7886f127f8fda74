"""The short form of the chaos suite: one round with three of the deaths; `make chaos` plays on with all.

The seed is fixed, so that a failure is looked for with the same draws again: `python tests/chaos
--seed N --kills 1`.
"""

import json
from pathlib import Path

from kill_table import BEGIN, END, markdown, write_into
from proof import Proof, differences, taken
from rounds import KILL, Round
from small_study import SmallStudy
from victims import EVERYTHING

SEED = 4
VICTIMS = (
    ("job process", KILL),
    ("driver", KILL),
    (EVERYTHING, KILL),
)


def test_whatever_dies_the_results_are_those_of_the_undisturbed_run(tmp_path: Path, reference: Proof) -> None:
    record = Round(SmallStudy(home=tmp_path / "killed"), reference, seed=SEED, kills=len(VICTIMS), first=VICTIMS).play()
    assert record.problems == [], json.dumps(record.as_json(), indent=1)
    assert [kill.victim for kill in record.kills] == [kind for kind, _ in VICTIMS]
    assert record.starts == 3, "the driver lived through everything but its own deaths"


def test_a_result_that_is_otherwise_is_seen(reference: Proof, reference_folder: Path) -> None:
    """The comparison compares: a changed byte, a changed step and a missing job are all told."""
    own = taken(SmallStudy(home=reference_folder.parent))
    assert differences(reference, own) == []
    train = "train/ssm-blockwise/s0"
    files = {**own.files, train: {**own.files[train], "weights.safetensors": "0" * 64}}
    metrics = {**own.metrics, train: own.metrics[train][1:]}
    changed = Proof(table=own.table + b"x", report={**own.report, "rows": {}}, files=files, metrics=metrics)
    told = "\n".join(differences(reference, changed))
    assert "results.csv differs" in told
    assert "report.json: rows differs" in told
    assert f"{train}: weights.safetensors differs" in told
    assert f"{train}: metrics.jsonl differs" in told


def test_the_table_counts_rounds_kills_and_losses(tmp_path: Path) -> None:
    kill = {"victim": "raylet", "how": "SIGKILL", "at_s": 1.0}
    record = {"seed": 7, "kind": "study", "starts": 1, "attempts": 4, "jobs": 3, "seconds": 36.0}
    records = [{**record, "kills": [kill, kill], "problems": []}, {**record, "kills": [kill], "problems": ["lost"]}]
    table = markdown(records, commit="abc", seed=7)
    assert "| raylet | SIGKILL | 2 | 3 | 1 |" in table
    assert "2 rounds, 3 kills" in table
    page = tmp_path / "page.md"
    page.write_text(
        f"before\n{BEGIN.format(by='make chaos')}\nold\n{END.format(by='make chaos')}\nafter\n", encoding="utf-8"
    )
    write_into(page, table)
    text = page.read_text(encoding="utf-8")
    assert text.startswith("before\n") and text.endswith("\nafter\n")
    assert "old" not in text and table in text
