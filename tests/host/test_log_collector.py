"""The pump under hostile output: whatever a job writes, all logs go on, bounded and without secrets."""

import os
import resource
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from orchestrator.host.log_collector import HEAD, LONGEST_LINE, TAIL, LogCollector, LogFile
from workloads.runtime.masking import Secret, credential_in, mask, secrets_of
from workloads.runtime.secret_forms import MASK

SECRET = "s3cr3t-value-of-a-key"


@pytest.fixture
def pump() -> Iterator[LogCollector]:
    made = LogCollector()
    yield made
    made.close()


def put(writing: int, content: bytes) -> None:
    with os.fdopen(writing, "wb", buffering=0) as pipe:
        view = memoryview(content)
        while view:
            view = view[pipe.write(view) or 0 :]


def test_a_gigabyte_without_a_line_break_leaves_a_bounded_log(tmp_path: Path, pump: LogCollector) -> None:
    # 128 MiB stand for it: the same path is taken every 64 KiB.
    log = LogFile(tmp_path / "log.txt", (Secret(SECRET),))
    writing, ended = pump.open(log, 0)
    block = b"x" * (1 << 20)
    with os.fdopen(writing, "wb", buffering=0) as pipe:
        for _ in range(128):
            pipe.write(block)
    assert ended.wait(120)
    log.close()
    assert (tmp_path / "log.txt").stat().st_size <= HEAD + TAIL + 4 * LONGEST_LINE


def test_bytes_that_are_no_text_are_logged_as_text(tmp_path: Path, pump: LogCollector) -> None:
    log = LogFile(tmp_path / "log.txt", ())
    writing, ended = pump.open(log, 0)
    put(writing, bytes(range(256)) * 1000)
    assert ended.wait(30)
    log.close()
    assert (tmp_path / "log.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("at", [*range(-len(SECRET) - 1, 2), -2 * len(SECRET)])
def test_a_secret_across_the_break_of_a_long_line_is_masked(tmp_path: Path, pump: LogCollector, at: int) -> None:
    log = LogFile(tmp_path / "log.txt", (Secret(SECRET), Secret(SECRET[:8] + "-other")))
    writing, ended = pump.open(log, 0)
    put(writing, b"x" * (LONGEST_LINE + at) + SECRET.encode() * 3 + b"y" * LONGEST_LINE)
    assert ended.wait(30)
    log.close()
    text = "".join(line.partition(" | ")[2] for line in (tmp_path / "log.txt").read_text().splitlines())
    assert "x" * 100 + MASK * 3 + "y" in text


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """No file of this process may grow beyond `size` bytes: the kernel answers EFBIG as it answers ENOSPC.

    Not a fixture: pytest writes its own line, often to a larger file, before it tears one down.
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_log_without_room_loses_lines_and_stops_nobody(tmp_path: Path, pump: LogCollector) -> None:
    full, other = LogFile(tmp_path / "full.txt", ()), LogFile(tmp_path / "other.txt", ())
    writing, ended = pump.open(full, 0)
    another, also = pump.open(other, 0)
    with room_for(20_000):
        put(writing, b"a line of some length\n" * 5000)
        assert ended.wait(60)
        put(another, b"still served\n")
        assert also.wait(60)
        full.close()
        other.close()
    assert (tmp_path / "full.txt").stat().st_size <= 20_000
    assert (tmp_path / "full.txt").read_text().endswith("\n"), "no half lines"
    assert (tmp_path / "other.txt").read_text().endswith("still served\n")


def test_a_log_that_has_room_again_says_how_many_lines_are_lost(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "log.txt", ())
    log.write(0, "one", 0.0)
    with room_for(30):
        log.write(0, "two", 0.0)
        log.write(0, "three", 0.0)
    deadline = threading.Event()
    while "four" not in (tmp_path / "log.txt").read_text():
        deadline.wait(0.1)
        log.write(0, "four", 0.0)
    log.close()
    lines = (tmp_path / "log.txt").read_text().splitlines()
    assert lines[0].endswith("one")
    assert lines[1].startswith("... ") and lines[1].endswith(" lines lost: they could not be written")
    assert lines[2].endswith("four")


def test_lines_after_the_end_of_a_log_are_let_go(tmp_path: Path, pump: LogCollector) -> None:
    # A daemon that a job left behind still holds the pipe when its log has been closed.
    log, other = LogFile(tmp_path / "log.txt", ()), LogFile(tmp_path / "other.txt", ())
    writing, ended = pump.open(log, 0)
    log.close()
    put(writing, b"too late\n")
    assert ended.wait(30)
    writing, ended = pump.open(other, 0)
    put(writing, b"in time\n")
    assert ended.wait(30)
    other.close()
    assert (tmp_path / "other.txt").read_text().endswith("in time\n")


def test_a_log_whose_shorter_copy_cannot_be_written_is_shortened_in_place(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "log.txt", (), head=1000, tail=2000)
    (tmp_path / ".log.txt.tmp").mkdir()  # in the way of the copy, as a full disk is
    for number in range(5000):
        log.write(0, f"line {number}", 0.0)
    log.close()
    lines = (tmp_path / "log.txt").read_text().splitlines()
    assert lines[0].endswith("line 0")
    assert lines[-1].endswith("line 4999")
    assert (tmp_path / "log.txt").stat().st_size < 5100


PLANTED = {
    "AWS_SECRET_ACCESS_KEY": "abc/def+ghi==",
    "DEPLOY_KEY": "-----BEGIN KEY-----\nfirst line of it\nsecond line of it\n-----END KEY-----",
    "MLFLOW_TRACKING_URI": "https://me:p%40ss-word@mlflow.example/path",
    "PHRASE_KEY": "open-sesame-open",
    "QUOTED_PASSWORD": 'say "it" now',
    "HOME": "/home/me",
}


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("key abc/def+ghi==!", "key ***!"),
        ("quoted abc%2Fdef%2Bghi%3D%3D", "quoted ***"),
        ("a first line of it b", "a *** b"),
        ("the password p@ss-word", "the password ***"),
        ("GET https://me:p%40ss-word@mlflow.example/path", "GET https://***@mlflow.example/path"),
        ("s3://key:other@bucket/x and http://token@host", "s3://***@bucket/x and http://***@host"),
        (r'{"detail": "say \"it\" now"}', '{"detail": "***"}'),
        ("hf_" + "a" * 34, "***"),
        ("AKIA" + "A" * 16, "***"),
        (
            "mail me@host, ssh git@host:x, /home/me, http://host/a@b",
            "mail me@host, ssh git@host:x, /home/me, http://host/a@b",
        ),
    ],
)
def test_secrets_are_masked_in_every_form(text: str, masked: str) -> None:
    assert mask(text, secrets_of(PLANTED)) == masked


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("controls: {negative: open-sesame-open}", "holds the value of $PHRASE_KEY"),
        ("rows: [open-sesame-open-k5]", None),
        ("s3://key:secret@bucket", "holds an address with a user and a password"),
        ("x abc/def+ghi== y", "holds the value of $AWS_SECRET_ACCESS_KEY"),
        ("hf_" + "a" * 34, "holds what looks like a token (hf_...)"),
        ("https://host/path", None),
        ("a picture of a key", None),
    ],
)
def test_a_credential_in_a_configuration_is_told_without_being_repeated(text: str, reason: str | None) -> None:
    found = credential_in(text, PLANTED)
    assert (found and found[1]) == reason
