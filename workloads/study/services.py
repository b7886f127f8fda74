"""Checks of `doctor` for the study: the judge's endpoint."""

from collections.abc import Iterator, Mapping, Sequence

from workloads.contract.planned import Diagnosis, PlannedCell, ServiceEndpoint

JUDGE_URL, JUDGE_KEY = "ECHO_MATRIX_JUDGE_URL", "ECHO_MATRIX_JUDGE_KEY"


def judge(
    cells: Sequence[PlannedCell], paths: Mapping[str, str], environment: Mapping[str, str]
) -> Iterator[Diagnosis | ServiceEndpoint]:
    """Whether the judge's endpoint responds, if a model judges; its key is never printed."""
    if not any(cell.controls.get("judge", {}).get("name") == "vlm" for cell in cells):
        yield Diagnosis(level="ok", says="not used: no model judges")
        return
    url = environment.get(JUDGE_URL) or paths.get("judge_url", "")
    if not url:
        remedy = f"set it, and {JUDGE_KEY} if the server needs a key"
        yield Diagnosis(level="bad", says=f"{JUDGE_URL} is not set, and a model judges", remedy=remedy)
        return
    key = environment.get(JUDGE_KEY, "").strip()
    yield ServiceEndpoint(
        what="the judge's endpoint",
        url=url.rstrip("/") + "/models",
        headers={"Authorization": f"Bearer {key}"} if key else {},
        remedy=f"see {JUDGE_URL} and {JUDGE_KEY} (docs/how-to/judge.md)",
    )
    yield Diagnosis(level="ok", says=f"{JUDGE_KEY} is {'set' if key else 'not set; fine if the server needs none'}")
