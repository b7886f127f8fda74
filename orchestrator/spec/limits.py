"""What a YAML text may weigh, seen on its events before a node is made of it.

The parser itself gives way to hostile text: nested a few thousand deep it overflows the stack of its C code, and
nine lines of aliases stand for a thousand million nodes. So events are counted first, one at a time, and what is
out of bounds is refused where it begins. Tags are refused too: they name types, and types come from the schema.
"""

import yaml

LARGEST_FILE = 4 << 20  # bytes; a matrix of 50,000 rows has 3 MiB
DEEPEST = 32  # collections in one another; matrix.yaml needs 6
MOST_NODES = 1_000_000  # values of one file, those that aliases repeat counted each time
MOST_CELLS = 100_000  # of one profile: 600,000 jobs, planned in half a minute and 1 GiB
LONGEST_NAME = 100  # characters of a row, axis, table, profile or study: they are parts of file names


class OutOfBounds(Exception):
    """A text that is not looked at further; `line` counts from 1."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(problem)
        self.line = line
        self.problem = problem


class _Weights:
    """Nodes below each anchor, so that an alias counts for all that it repeats."""

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
        if anchor is not None:  # an anchor given again means the newer node from here on
            self._done.pop(anchor, None)

    def end(self) -> None:
        anchor, before = self._open.pop()
        if anchor is not None:
            self._done[anchor] = self.total - before

    def alias(self, anchor: str) -> bool:
        """False: it repeats what it lies in, or nothing."""
        self.total += self._done.get(anchor, 1)
        return not any(name == anchor for name, _ in self._open)


def check_bounds(text: str, loader: type) -> None:
    """Look through a YAML text for what is too deep, too much, or typed by a tag.

    Raises:
        OutOfBounds: the first such place.
        yaml.YAMLError: no YAML.
    """
    weights = _Weights()
    for event in yaml.parse(text, Loader=loader):
        line = event.start_mark.line + 1 if event.start_mark is not None else 1
        tag = getattr(event, "tag", None)
        if tag is not None:
            raise OutOfBounds(line, f"has the tag {tag!r}; allowed: no tags, write the value alone")
        if isinstance(event, yaml.ScalarEvent):
            weights.scalar(event.anchor)
        elif isinstance(event, yaml.CollectionStartEvent):
            weights.begin(event.anchor)
        elif isinstance(event, yaml.CollectionEndEvent):
            weights.end()
        elif isinstance(event, yaml.AliasEvent) and not weights.alias(str(event.anchor)):
            raise OutOfBounds(line, f"repeats *{event.anchor} inside itself, without end; write the value out")
        if weights.depth > DEEPEST:
            raise OutOfBounds(line, f"is nested more than {DEEPEST} deep; allowed: {DEEPEST}; is a bracket left open?")
        if weights.total > MOST_NODES:
            raise OutOfBounds(
                line, f"stands for more than {MOST_NODES} values; allowed: {MOST_NODES}, those of aliases counted"
            )
