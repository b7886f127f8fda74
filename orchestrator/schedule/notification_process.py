"""Notification process: runs the user's `on_event` command once, with a time limit; logs its failure in driver.log.

`notifications` starts it with an order as JSON on standard input; it imports next to nothing, so that it starts at
once. It outlives the controller: the last event is sent when that ends.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

from workloads.runtime.masking import mask, secrets_of

SAID = 300
"""Last characters of a failed command's error output that are logged."""
KEPT = 1 << 16
"""Last bytes that are looked at: so many that half a secret at their beginning is not among the last characters."""
SHORTEST = 6
"""Words of the command with at least so many characters are masked in its error output: one may be a secret."""


def main(order: dict[str, Any]) -> int:
    """Run the command; 0 if it ended well."""
    said: list[bytes] = []
    try:
        process = subprocess.Popen(
            order["words"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        note(order, str(error))
        return 1
    assert process.stdin is not None
    assert process.stderr is not None
    reader = threading.Thread(target=keep_last, args=(process.stderr, said), daemon=True)
    reader.start()
    writer = threading.Thread(target=give, args=(process.stdin, order["about"].encode()), daemon=True)
    writer.start()
    try:
        code = process.wait(order["limit_s"])
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        note(order, f"killed after {order['limit_s']:g} s")
        return 1
    if code:
        reader.join(1.0)
        last = last_of(b"".join(said), order["words"])
        note(order, f"ended with {code}" + (f": {last}" if last else ""))
    return int(code != 0)


def keep_last(pipe: BinaryIO, said: list[bytes]) -> None:
    """Read the pipe to its end, and keep the last bytes."""
    with contextlib.suppress(OSError, ValueError):
        while block := pipe.read1(1 << 16):  # type: ignore[attr-defined]
            said[:] = [(b"".join(said) + block)[-KEPT:]]


def last_of(said: bytes, words: Sequence[str]) -> str:
    """The end of what a command said, without its own words and without secrets.

    It is cut after it was masked: half a secret is not recognised.
    """
    return mask(without_words(said.decode(errors="replace"), words), secrets_of(os.environ)).strip()[-SAID:]


def without_words(text: str, words: Sequence[str]) -> str:
    """`text` without the words of the command, of which one may be a secret."""
    for word in sorted(words, key=len, reverse=True):
        if len(word) >= SHORTEST:
            text = text.replace(word, "***")
    return text


def give(pipe: BinaryIO, about: bytes) -> None:
    """Write the object; the command may ignore it."""
    with contextlib.suppress(OSError, ValueError), pipe:
        pipe.write(about)


def note(order: dict[str, Any], problem: str) -> None:
    """A line of driver.log, without the command's own words."""
    problem = without_words(problem, order["words"])
    line = {"at": round(time.time(), 3), "what": "on_event failed", "event": order["event"], "error": problem}
    text = mask(json.dumps(line), secrets_of(os.environ))
    with contextlib.suppress(OSError), Path(order["log"]).open("a", encoding="utf-8") as log:
        log.write(text + "\n")


def run() -> None:
    """Carry out the order on standard input."""
    sys.exit(main(json.load(sys.stdin)))
