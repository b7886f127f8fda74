"""Limits on YAML input, checked on the parser's events before any node is built.

Hostile text breaks the parser itself: nesting of a few thousand levels overflows its C stack, and nine lines of
aliases expand to a billion nodes. Tags are refused too: they name types, and types come from the schema.
"""

import yaml

LARGEST_FILE = 4 << 20  # bytes; a matrix of 50,000 rows has 3 MiB
DEEPEST = 32  # nested collections; matrix.yaml needs 6
MOST_NODES = 1_000_000  # values of one file; aliases are expanded
MOST_CELLS = 100_000  # of one profile: 600,000 jobs, planned in half a minute and 1 GiB
LONGEST_NAME = 100  # characters of a row, axis, table, profile or study: they are parts of file names


class OutOfBounds(Exception):
    """A YAML text beyond a limit; `line` counts from 1."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(problem)
        self.line = line
        self.problem = problem


class _NodeCount:
    """Counts nodes below each anchor, so that an alias counts for everything it expands to."""

    def __init__(self) -> None:
        self.total = 0
        self._done: dict[str, int] = {}
        self._open: list[tuple[str | None, int]] = []
        """Anchor of each open collection, and the total before it."""

    @property
    def depth(self) -> int:
        return len(self._open)

    def scalar(self, anchor: str | None) -> None:
        self.total += 1
        if anchor is not None:
            self._done[anchor] = 1

    def begin(self, anchor: str | None) -> None:
        self._open.append((anchor, self.total))
        self.total += 1
        if anchor is not None:  # a repeated anchor replaces the earlier one
            self._done.pop(anchor, None)

    def end(self) -> None:
        anchor, before = self._open.pop()
        if anchor is not None:
            self._done[anchor] = self.total - before

    def alias(self, anchor: str) -> bool:
        """Count an alias; False if it refers to a collection that contains it."""
        self.total += self._done.get(anchor, 1)
        return not any(name == anchor for name, _ in self._open)


def check_bounds(text: str, loader: type) -> None:
    """Refuse a YAML text that is nested too deep, too large, or has tags.

    Raises:
        OutOfBounds: at the first such place.
        yaml.YAMLError: not YAML.
    """
    nodes = _NodeCount()
    for event in yaml.parse(text, Loader=loader):
        line = event.start_mark.line + 1 if event.start_mark is not None else 1
        tag = getattr(event, "tag", None)
        if tag is not None:
            raise OutOfBounds(line, f"has the tag {tag!r}; allowed: no tags, write the value alone")
        if isinstance(event, yaml.ScalarEvent):
            nodes.scalar(event.anchor)
        elif isinstance(event, yaml.CollectionStartEvent):
            nodes.begin(event.anchor)
        elif isinstance(event, yaml.CollectionEndEvent):
            nodes.end()
        elif isinstance(event, yaml.AliasEvent) and not nodes.alias(str(event.anchor)):
            raise OutOfBounds(line, f"refers to *{event.anchor} inside itself; write the value out")
        if nodes.depth > DEEPEST:
            raise OutOfBounds(line, f"is nested more than {DEEPEST} deep; allowed: {DEEPEST}; is a bracket not closed?")
        if nodes.total > MOST_NODES:
            raise OutOfBounds(line, f"has more than {MOST_NODES} values, aliases expanded; allowed: {MOST_NODES}")
