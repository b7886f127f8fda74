"""What people and programs write by mistake or on purpose: values, keys and texts for the fuzz tests."""

import copy
import random
from collections.abc import Callable
from typing import Any

SECRET = "planted-Gx7-secret"
VARIABLE = "ECHO_MATRIX_TEST_PLANTED"

SCALARS = (
    *("", "null", "~", "true", "yes", "on", "False", "0", "-0", "-0.0", "1", "-1", "2", "7", "010", "0x10", "1_000"),
    *("1:30", "1e3", "1e400", ".nan", "-.inf", "0.5", "5.0", "9" * 30, "9" * 5000, "-" + "9" * 400, "1e-400"),
    *("2026-11-24", "text", "a b", '""', '"5"', "'x'", '"\\0"', '"\\uD800"', '"\\U0001F600"', "\u0664\u0662", "\uff15"),
    *('"\\e[31m"', "\u202etxt", '"e\\u0301"', "\u00e9", "???", "${oc.env:" + VARIABLE + "}", "${.steps}", "${now:}"),
    *('"' + "x" * 20_000 + '"', "${oc.decode:1}", "!!python/object/apply:os.system [true]", "!!int 5", "!x 1", "&a 5"),
    *("*a", "*nobody", "[]", "{}", "[1, 2]", "{a: 1}", "[[1]]", "{? [a] : b}", "{1: 2}", "{null: 1}", "? a", "- a"),
    *("[" * 40 + "]" * 40, "[" * 4000, "{a: " * 50 + "1" + "}" * 50, "|\n text", "> x", "@", "`", "%", "a: b: c", "#"),
    *("context", "worlds", "replay", "pre_norm", "memory.masked", "controls.training.steps", "../..", "/etc/passwd"),
    *("s3://key:secret@bucket/x", "a;b=c/d", '"a\\nb"', "\u2028", "\x85", "\x07", "'", '"', "[a", "}", "&a [*a]", "<<"),
)

KEYS = (
    *("", "stepz", "steps", "family", "<<", "? [a]", "null", "1", "true", "on", '"a\\0b"', "'" + "k" * 300 + "'", "*a"),
    *(
        "\u00e9",
        '"e\\u0301"',
        "\u202e",
        "study",
        "seeds",
        "controls",
        "memory",
        "axes",
        "profiles",
        "laptop",
        "__class__",
    ),
    *("a.b", "..", "/", "&k x", "!!str x", "\U0001f600", "value", "values", "key", "rows", "reason", "resources"),
)

PIECES = (
    *("\0", "\ufeff", "\t", "\r\n", "\r", "\n---\n", "\n...\n", "&a ", "*a", "!!python/name:os.system ", "%YAML 9.9\n"),
    *("[", "]", "{", "}", ":", " : ", "- ", ", ", "#", '"', "'", "|", ">", "\\", "\x1b", "\u2028", "\u202e", "\ufffe"),
    *(
        "${oc.env:" + VARIABLE + "}",
        "??? ",
        "<<: *a\n",
        "? ",
        "\u00e9",
        "e\u0301",
        "\U0001f600",
        "  ",
        "\n",
        "0",
        "9" * 50,
    ),
)

Tree = Any
"""A mapping is a list of [key, Tree] under "map", a list a list under "list", a scalar its own text."""


def tree_of(value: Any) -> Tree:
    """A loaded YAML value as a tree whose keys may stand twice."""
    if isinstance(value, dict):
        return {"map": [[str(key), tree_of(child)] for key, child in value.items()]}
    if isinstance(value, list):
        return {"list": [tree_of(child) for child in value]}
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return repr(value)


def text_of(tree: Tree, depth: int = 0) -> str:
    """A tree as YAML: sections of the first two levels on lines of their own, the rest in brackets."""
    if isinstance(tree, str):
        return tree
    if "list" in tree:
        return "[" + ", ".join(text_of(child, depth + 2) for child in tree["list"]) + "]"
    if depth < 2 and tree["map"]:
        indent = "  " * depth
        lines = []
        for key, child in tree["map"]:
            nested = isinstance(child, dict) and "map" in child and child["map"] and depth < 1
            lines.append(f"{indent}{key}:{chr(10) if nested else ' '}{text_of(child, depth + 1 if nested else 2)}")
        return "\n".join(lines)
    return "{" + ", ".join(f"{key}: {text_of(child, depth + 2)}" for key, child in tree["map"]) + "}"


def mutated(tree: Tree, chance: random.Random) -> None:
    """Change one place of a tree."""
    places = list(_places(tree))
    holder, index = chance.choice(places)
    changes: tuple[Callable[[], None], ...] = (
        lambda: holder.pop(index),
        lambda: holder.insert(index, copy.deepcopy(holder[index])),
        lambda: _set(holder, index, chance.choice(SCALARS)),
        lambda: _set(holder, index, chance.choice(SCALARS)),
        lambda: _set(holder, index, {"list": [_get(holder, index)]}),
        lambda: _set(holder, index, {"map": [[chance.choice(KEYS), _get(holder, index)]]}),
        lambda: _set(holder, index, copy.deepcopy(_get(*chance.choice(places)))),
        lambda: _rename(holder, index, chance.choice(KEYS)),
        lambda: _rename(holder, index, chance.choice(KEYS)),
        lambda: _add(holder, chance.choice(KEYS), chance.choice(SCALARS)),
    )
    chance.choice(changes)()


def torn(text: str, chance: random.Random) -> bytes:
    """Change one place of a text: a piece put in, cut out, said twice, or bytes that are no text."""
    begin = chance.randrange(len(text) + 1)
    end = min(len(text), begin + chance.choice((0, 1, 1, 3, 20, 400)))
    way = chance.randrange(6)
    if way == 0:
        text = text[:begin] + text[end:]
    elif way == 1:
        text = text[:end] + text[begin:end] + text[end:]
    elif way == 2:
        text = text[:begin]
    elif way == 3:
        text = text[:begin] + chance.choice(SCALARS) + text[end:]
    else:
        text = text[:begin] + chance.choice(PIECES) + text[end:]
    content = text.encode("utf-8")
    if chance.random() < 0.1:
        at = chance.randrange(len(content) + 1)
        content = content[:at] + bytes([chance.randrange(256)]) + content[at:]
    return content


def _places(tree: Tree) -> Any:
    if isinstance(tree, dict):
        holder = tree.get("map", tree.get("list"))
        for index, child in enumerate(holder):
            yield holder, index
            yield from _places(child[1] if "map" in tree else child)


def _get(holder: list[Any], index: int) -> Tree:
    return holder[index][1] if isinstance(holder[index], list) else holder[index]


def _set(holder: list[Any], index: int, tree: Tree) -> None:
    if isinstance(holder[index], list):
        holder[index] = [holder[index][0], tree]
    else:
        holder[index] = tree


def _rename(holder: list[Any], index: int, key: str) -> None:
    if isinstance(holder[index], list):
        holder[index] = [key, holder[index][1]]


def _add(holder: list[Any], key: str, tree: Tree) -> None:
    holder.append([key, tree] if holder and isinstance(holder[0], list) else tree)
