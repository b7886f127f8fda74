"""What a job takes over from finished ones, and what it makes: laws of `plan.growth`."""

from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_study import make_job

from orchestrator.plan.fingerprint import content_of, with_items
from orchestrator.plan.growth import NONE, FinishedItems, Growth
from orchestrator.plan.job import Job

BASES = ("b" * 64, "c" * 64)
NAMES = tuple("abcdef")
WAYS = ("1" * 64, "2" * 64)
"""Digests of what items are measured with."""

Contents = dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Record:
    """A commit record, as far as growth reads it."""

    fingerprint: str
    items: Contents
    measured: str
    manifest: str = ""
    inputs: dict[str, dict[str, str]] = field(default_factory=dict)


contents = st.dictionaries(st.sampled_from(NAMES), st.sampled_from(("x", "y"))).map(
    lambda chosen: {name: content_of(name, {"data": {"": read}}) for name, read in chosen.items()}
)
made = st.builds(
    lambda base, items, measured: Record(fingerprint=with_items(base, measured, items), items=items, measured=measured),
    st.sampled_from(BASES),
    contents,
    st.sampled_from(WAYS),
)


def wanting(items: Contents, measured: str = WAYS[0], branch: str = "return") -> Job:
    job = make_job("evaluate", f"evaluate/{branch}/a")
    fingerprint = with_items(BASES[0], measured, items)
    return replace(job, fingerprint=fingerprint, items=dict(sorted(items.items())), measured=measured)


def growth_of(job: Job, records: list[Record]) -> Growth:
    known = {one.fingerprint: one for one in records}
    return FinishedItems(known, known.get).growth(job)


@given(contents.filter(bool), st.lists(made, max_size=6), st.sampled_from(WAYS), st.sampled_from(("return", "replay")))
def test_taken_and_missing_are_the_items_each_once_and_from_its_own_base(
    items: Contents, records: list[Record], measured: str, branch: str
) -> None:
    job, known = wanting(items, measured, branch), {one.fingerprint: one for one in records}
    growth = growth_of(job, records)
    if growth.within:
        whole = known[growth.within]
        assert whole.measured == measured and branch != "replay", "values over all cases are of each set anew"
        assert items.items() <= whole.items.items()
        assert growth == Growth(within=growth.within)
        return
    parts = [*growth.missing, *(name for one in growth.taken for name in one.items)]
    assert sorted(parts) == sorted(items)
    for one in growth.taken:
        source = known[one.fingerprint]
        assert source.fingerprint[32:] == job.base
        assert one.items and one.measured == (source.measured == measured)
        assert all(source.items[name] == items[name] for name in one.items)
    alike = [one for one in records if one.fingerprint[32:] == job.base]
    assert not [name for name in growth.missing for one in alike if one.items.get(name) == items[name]]
    whole_alike = [one for one in alike if one.measured == measured and items.items() <= one.items.items()]
    assert branch == "replay" or not whole_alike, "it would be within that one"


@given(contents.filter(bool), st.lists(made, max_size=6), st.randoms())
def test_the_order_of_a_listing_decides_nothing(items: Contents, records: list[Record], random: Any) -> None:
    shuffled = list(records)
    random.shuffle(shuffled)
    assert growth_of(wanting(items), shuffled) == growth_of(wanting(items), records)


def test_a_job_without_items_takes_nothing_over() -> None:
    assert growth_of(make_job("train", "train/a"), []) == NONE


def sha(text: str) -> str:
    return sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(
    ("manifest", "committed", "taken"),
    [("m", True, True), ("n", True, False), ("m", False, False)],
    ids=["as it was", "made again", "gone"],
)
def test_only_what_stands_on_what_is_still_there_is_taken_over(manifest: str, committed: bool, taken: bool) -> None:
    items = {"a": content_of("a", {}), "b": content_of("b", {})}
    source = Record(fingerprint=sha("train"), items={}, measured="", manifest=manifest)
    inputs = {"train": {"fingerprint": source.fingerprint, "manifest": "m"}}
    one = {"a": items["a"]}
    old = Record(fingerprint=with_items(BASES[0], WAYS[0], one), items=one, measured=WAYS[0], inputs=inputs)
    known = {one.fingerprint: one for one in (old, source)}
    listed = [name for name in known if committed or name != source.fingerprint]
    growth = FinishedItems(listed, known.get).growth(wanting(items))
    assert growth.missing == (("b",) if taken else ("a", "b"))
    assert [one.fingerprint for one in growth.taken] == ([old.fingerprint] if taken else [])
