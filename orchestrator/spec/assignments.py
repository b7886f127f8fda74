"""`--set KEY=VALUE`: keys of the command line, put into the tree of a cluster file before it is read.

The tree is then read once, so that both are checked alike; messages say `--set` instead of a line.
"""

from collections.abc import Sequence

import yaml

from orchestrator.spec.lines import LONGEST_KEY, SET, Place, compose, cut, is_null, kind_of, printable, refuse

_HERE = Place(SET, None)
_MARK = yaml.Mark(SET, 0, 0, 0, "", 0)


def mapping_of(**scalars: str) -> yaml.MappingNode:
    """A mapping of texts, as if each had been given by `--set`."""
    entries = [(_scalar(name), _scalar(value)) for name, value in scalars.items()]
    return yaml.MappingNode("tag:yaml.org,2002:map", entries, _MARK, _MARK)


def assigned(tree: yaml.MappingNode, texts: Sequence[str], source: str) -> yaml.MappingNode:
    """`tree` with `KEY=VALUE` texts put in; each replaces what the tree has under its full path. `tree` is not changed.

    Args:
        tree: of a file.
        texts: the values are YAML.
        source: the file, for messages.

    Raises:
        MatrixError: no `=`, a repeated key, a value that is no YAML, or a key inside something that is no mapping.
    """
    given: dict[str, str] = {}
    for text in texts:
        key, equals, value = (part.strip() for part in text.partition("="))
        if not equals or not all(key.split(".")):
            refuse(_HERE, "", f"{text!r} is not a setting; write KEY=VALUE, such as grace_s=60")
        if key in given:
            refuse(_HERE, key, f"is given twice, as {given[key]} and {value}; remove one")
        given[key] = value
        node = compose(value, f"{SET}: {printable(cut(key, LONGEST_KEY))}")
        if node is None:
            refuse(_HERE, key, 'is without a value; write KEY=VALUE, KEY="" for an empty text')
        _mark(node, set())
        tree = _put(tree, key.split("."), node, key, source)
    return tree


def _put(tree: yaml.MappingNode, path: Sequence[str], value: yaml.Node, key: str, source: str) -> yaml.MappingNode:
    """A copy of `tree` along `path`: an alias elsewhere in the file keeps its value."""
    name, rest = path[0], path[1:]
    entries = list(tree.value)
    found = next((i for i, (one, _) in enumerate(entries) if getattr(one, "value", None) == name), len(entries))
    if rest:
        inner = entries[found][1] if found < len(entries) else None
        if inner is not None and not isinstance(inner, yaml.MappingNode) and not is_null(inner):
            above = key.removesuffix("." + ".".join(rest))
            refuse(_HERE, key, f"is inside {above}, which is {kind_of(inner)} in {source} and has no keys")
        value = _put(inner if isinstance(inner, yaml.MappingNode) else mapping_of(), rest, value, key, source)
    entries[found : found + 1] = [(_scalar(name), value)]
    return yaml.MappingNode(tree.tag, entries, tree.start_mark, tree.end_mark)


def _scalar(text: str) -> yaml.ScalarNode:
    return yaml.ScalarNode("tag:yaml.org,2002:str", text, _MARK, _MARK)


def _mark(node: yaml.Node, seen: set[int]) -> None:
    """Let a node and what is inside say that they are of the command line."""
    if id(node) in seen:  # an alias
        return
    seen.add(id(node))
    node.start_mark = node.end_mark = _MARK
    for entry in node.value if isinstance(node, yaml.CollectionNode) else ():
        for child in entry if isinstance(entry, tuple) else (entry,):
            _mark(child, seen)
