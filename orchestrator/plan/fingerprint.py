"""Fingerprint of a job: a digest of everything that the job reads, and of nothing else.

    sha256(canonical([format version, stage, revisions, {section: digest of section}, row digest,
                      seed or null, branch or null, sorted input fingerprints]))

Included: controls, the row, axis values (they are controls), seed, branch, revisions, inputs. Not included: names of
rows, paths, hosts, device counts, backend, DeepSpeed settings, git commit.

A job with items (`Workload.items`) has two digests of 32 digits each. The second, its *base*, is the one above, without
the keys that the stage ignores or measures with, and with the bases of the inputs of which its items name items: it is
the same for all jobs that make their items in the same way. The first covers the base, what items are measured with,
and the items. So a listing of fingerprints tells which finished jobs may have some of a job's items. Within a base, an
item is told by its `content`: a digest of its name and of the contents of the items that it reads.

A plan has tens of thousands of jobs but a few dozen distinct sections and rows, so their digests are computed once
and the canonical text is put together by hand. `fingerprint` is the plain implementation; a test compares the two.
"""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

from orchestrator.spec.canonical import canonical, digest
from workloads.contract.stage import StageSpec
from workloads.contract.workload import FORMAT

BASE_DIGITS = 32
"""Of a fingerprint of a job with items: its last digits are its base."""

SMOKE = "smoke"
"""Last entry of a smoke job's list, so that its result never counts as done."""

_BETWEEN = '","'


def config_of(
    stage: StageSpec, controls: Mapping[str, Mapping[str, Any]], branch_section: Mapping[str, Any] | None
) -> dict[str, Any]:
    """The sections that a stage reads, as in a request; `section.key` becomes `{section: {key: ...}}`.

    A key that the cell's controls do not have (a row control that its row does not read) is absent.
    """
    config: dict[str, Any] = {}
    for name in stage.sections:
        section, _, key = name.partition(".")
        if not key:
            config[section] = controls[section]
        elif key in controls[section]:
            config.setdefault(section, {})[key] = controls[section][key]
    if stage.branches:
        config["branch"] = branch_section
    return config


def base_of(fingerprint: str) -> str:
    """The base in the fingerprint of a job with items."""
    return fingerprint[-BASE_DIGITS:]


def identity_of(stage: StageSpec, config: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Of the config of a job with items: what its base covers, and what its items are measured with."""
    made: dict[str, Any] = {}
    measured: dict[str, Any] = {}
    for section, values in config.items():
        if section in stage.ignored:
            continue
        paths = {key: f"{section}.{key}" for key in values}
        made[section] = {
            key: values[key] for key, path in paths.items() if path not in (*stage.ignored, *stage.measuring)
        }
        if late := {key: values[key] for key, path in paths.items() if path in stage.measuring}:
            measured[section] = late
    if stage.measuring_revision > 1:
        measured["revision"] = stage.measuring_revision
    return made, measured


def content_of(name: str, reads: Mapping[str, Mapping[str, str]]) -> str:
    """The content of an item, 32 hex digits.

    Args:
        name: of the item.
        reads: input stage -> item of it -> its content.
    """
    return digest([name, {stage: sorted(contents.values()) for stage, contents in reads.items()}])[:BASE_DIGITS]


def with_items(base: str, measured: str, contents: Mapping[str, str]) -> str:
    """The fingerprint of a job with items.

    Args:
        base: `fingerprint` of what its items have in common.
        measured: digest of what they are measured with.
        contents: item -> content.
    """
    return joined(base, own_of(measured, contents))


def own_of(measured: str, contents: Mapping[str, str]) -> bytes:
    """What the fingerprints of jobs with these items cover besides their base."""
    return f"{measured}{digest(dict(contents))}".encode()


def joined(base: str, own: bytes) -> str:
    """`with_items` of what is known (`own_of`)."""
    return sha256(base.encode() + own).hexdigest()[:BASE_DIGITS] + base[:BASE_DIGITS]


def selected(base: str, contents: Mapping[str, str]) -> str:
    """What stands for an input in the fingerprint of a job that reads some of its items."""
    return digest([base, dict(contents)])


def _quoted(text: str | None) -> str:
    """The canonical form of a text that needs no escapes."""
    return "null" if text is None else f'"{text}"'


class FingerprintsOfKind:
    """Fingerprints of jobs that differ in their seeds and inputs alone: what they share is hashed and spelt once."""

    def __init__(self, head: str, branch: str | None, *, inputs: bool, smoke: bool, own: bytes | None) -> None:
        """Take what all share.

        Args:
            head: canonical text up to the row's digest, with a comma.
            branch: of the jobs.
            inputs: whether they have any.
            smoke: whether they are smoke jobs.
            own: `own_of` their items; None: they have no items.
        """
        quote = '"' if inputs else ""
        self._start = sha256(head.encode())
        self._before_inputs = f",{_quoted(branch)},[{quote}"
        self._after_inputs = f'{quote}],"{SMOKE}"]' if smoke else f"{quote}]]"
        self._own = own

    def of(self, seed: int | None, inputs: list[str]) -> str:
        """The fingerprint of a job; `inputs`: what stands for them."""
        seed_text = "null" if seed is None else seed
        whole = self._start.copy()
        whole.update(f"{seed_text}{self._before_inputs}{_BETWEEN.join(sorted(inputs))}{self._after_inputs}".encode())
        found: str = whole.hexdigest()
        return found if self._own is None else joined(found, self._own)


class Digests:
    """Digests of the sections and rows of one plan, each computed once."""

    def __init__(self) -> None:
        self._digests: dict[int, tuple[Any, str]] = {}

    def head(
        self, stage: str, revisions: Mapping[str, int], config: Mapping[str, Any], row: Mapping[str, Any] | None
    ) -> str:
        """The canonical text of a fingerprint up to the row's digest, with a comma."""
        sections = {name: self._digest(section) for name, section in config.items()}
        head = canonical([FORMAT, stage, revisions, sections])
        return f"{head[:-1]},{_quoted(None if row is None else self._digest(row))},"

    def _digest(self, value: Mapping[str, Any]) -> str:
        # Keeps the object, so that its id is not reused.
        known = self._digests.get(id(value))
        if known is None:
            known = self._digests[id(value)] = (value, digest(value))
        return known[1]


def fingerprint(
    stage: str,
    revisions: Mapping[str, int],
    config: Mapping[str, Any],
    row: Mapping[str, Any] | None,
    seed: int | None,
    branch: str | None,
    inputs: Sequence[str],
    *,
    smoke: bool = False,
) -> str:
    """The fingerprint of one job, computed plainly: the reference for `FingerprintsOfKind`.

    Raises:
        TypeError: a value in a section that has no canonical form.
        ValueError: a number in a section that is not finite.
    """
    parts: list[Any] = [
        FORMAT,
        stage,
        dict(revisions),
        {name: digest(section) for name, section in config.items()},
        None if row is None else digest(row),
        seed,
        branch,
        sorted(inputs),
    ]
    return digest([*parts, SMOKE] if smoke else parts)
