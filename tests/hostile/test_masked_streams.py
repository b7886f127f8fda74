"""Secrets in pieces, or in what is cut: lines without an end, writes of single bytes, messages of limited length."""

import io
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.host.log_collector import LONGEST_LINE, LogCollector, LogFile
from orchestrator.host.masked_stream import MaskedStream
from orchestrator.schedule.notification_process import SAID, last_of
from workloads.runtime.masking import secrets_of

FILLED = st.sampled_from(
    [0, 1, 7, 100, LONGEST_LINE - 8200, LONGEST_LINE // 2, LONGEST_LINE - 60, LONGEST_LINE - 20, LONGEST_LINE]
)
SPLIT = {
    "API_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "DB_PASS": "rosebud",
    "PIN_PASS": "1234",
    "X_KEY": "d\u00e9j\u00e0-Vu7",
}
SPLIT_TEXTS = (
    *(
        SPLIT["API_KEY"],
        SPLIT["X_KEY"],
        " rosebud ",
        " PIN_PASS=1234 ",
        "https://me:pw-of-nobody@host/",
        "?sig=Zm9v1mFyMTIz&x",
    ),
    *("Authorization: Bearer q1w2e3r4t5z6", " https://hooks.slack.com/services/T0/B0/abcdefghij0123456789 "),
)
SPLIT_TRACES = (
    "wJalrX",
    "CYEXAMPLEKEY",
    "j\u00e0-Vu7",
    "rosebud",
    "1234",
    "of-nobody",
    "mFyMTIz",
    "r4t5z6",
    "ghij0123456789",
)


@settings(max_examples=6, deadline=None)
@given(
    parts=st.lists(st.tuples(FILLED, st.integers(-45, 45), st.sampled_from(SPLIT_TEXTS)), min_size=1, max_size=4),
    filler=st.sampled_from(["x ", "\u4e16 ", "ab, "]),
    read=st.sampled_from([LONGEST_LINE, 4096 * 3 + 1]),
)
def test_no_secret_lies_across_the_cuts_of_a_line_without_end(
    tmp_path_factory: pytest.TempPathFactory, parts: list[tuple[int, int, str]], filler: str, read: int
) -> None:
    """As the collector does it: reads of any size, and a piece is written when the line is too long."""
    line = "".join((filler * LONGEST_LINE)[: max(0, size + more)] + text for size, more, text in parts).encode()
    log = LogFile(tmp_path_factory.mktemp("log") / "log.txt", secrets_of(SPLIT))
    pieces, pending = [], b""
    for begin in range(0, len(line), read):
        pending += line[begin : begin + read]
        if len(pending) >= LONGEST_LINE:
            piece, pending = log.split_long_line(pending)
            pieces.append(piece)
    for piece in (*pieces, pending):
        log.write(0, piece.decode("utf-8", errors="replace"), 0.0)
    log.close()
    written = log.path.read_text(encoding="utf-8")
    text = "".join(one.partition(" | ")[2] for one in written.splitlines())
    assert not [trace for trace in SPLIT_TRACES if trace in text]
    assert text.count(filler[0]) >= line.count(filler[0].encode()) - len(parts), "and nothing else is lost"


def test_a_text_is_masked_before_it_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEPLOY_KEY", SPLIT["API_KEY"])
    for length in range(0, SAID, 9):
        said = f"ended: {SPLIT['API_KEY']} {'x' * length}".encode()
        assert not [trace for trace in SPLIT_TRACES if trace in last_of(said, ["send"])]


def test_a_secret_that_a_library_prints_in_pieces_is_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEPLOY_KEY", SPLIT["API_KEY"])
    out = io.StringIO()
    stream = MaskedStream(out, largest=200)
    print("with", *SPLIT["API_KEY"], sep="", file=stream)
    for letter in f"and {SPLIT['API_KEY']}":
        stream.write(letter)
    assert out.getvalue() == "with***\n"
    stream.flush()
    assert out.getvalue() == "with***\nand ***"
    stream.write("x" * 200 + "\n")
    stream.write("no more\n")
    assert out.getvalue().endswith("x\n\n... later output is not kept\n")


def test_a_secret_in_two_writes_of_a_job_is_masked(tmp_path: Path) -> None:
    pump, log = LogCollector(), LogFile(tmp_path / "log.txt", secrets_of(SPLIT))
    writing, ended = pump.open(log, 0)
    with os.fdopen(writing, "wb", buffering=0) as pipe:
        for byte in b"with " + SPLIT["API_KEY"].encode() + b"\r\nand " + SPLIT["X_KEY"].encode():
            pipe.write(bytes([byte]))
    assert ended.wait(30)
    pump.close()
    log.close()
    assert [line.partition(" | ")[2] for line in (tmp_path / "log.txt").read_text().splitlines()] == [
        "with ***",
        "and ***",
    ]
