"""Input that would overflow, hang or run: each is one sentence with the file, the line and what to do."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.backends.registry import backends
from orchestrator.cli import main
from orchestrator.errors import MatrixError
from orchestrator.opening import open_study
from orchestrator.spec.cluster import load_cluster
from orchestrator.spec.limits import LARGEST_FILE, MOST_CELLS
from orchestrator.spec.lines import compose_file
from orchestrator.spec.load import load_matrix, resolve_profile
from workloads.study.workload import WORKLOAD

ROOT = Path(__file__).parent.parent.parent
MATRIX = (ROOT / "matrix.yaml").read_text(encoding="utf-8")


def written(tmp_path: Path, content: str | bytes) -> Path:
    path = tmp_path / "matrix.yaml"
    path.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
    return path


def instead(old: str, new: str) -> str:
    assert old in MATRIX, old
    return MATRIX.replace(old, new, 1)


LAUGHS = "a0: &a0 [ha, ha]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 30))

TEXTS: list[tuple[str, str | bytes, str]] = [
    ("aliases of aliases", LAUGHS, r":7: has more than 1000000 values, aliases expanded; allowed: 1000000"),
    ("an alias in itself", "a: &a [1, *a]\n", r":1: refers to \*a inside itself; write the value out"),
    ("forty brackets", "study: x\nseeds: " + "[" * 40, r":2: is nested more than 32 deep; .* is a bracket not closed"),
    ("a million brackets", "[" * 1_000_000, r":1: is nested more than 32 deep"),
    ("a million lines", "\n".join(["- " * 31 + "x"] * 70_000), r": has more than 4 MiB; allowed: 4 MiB"),
    ("a tag", "study: !!python/object/apply:os.system [true]", r":1: has the tag 'tag:yaml.org,2002:python/object/app"),
    ("two documents", "study: x\n---\nstudy: y\n", r":2: is not YAML: but found another document"),
    ("nothing", "", r": is not a mapping; allowed: key: value, one per line"),
    ("only a mark of order", "\ufeff", r": is not a mapping"),
    ("a NUL", "study: x\nseeds: \0", r":2: is not YAML: control characters are not allowed \(U\+0000\); remove the"),
    ("Latin-1", b"study: x\nseeds: \xe9\n", r":2: is not UTF-8 \(.*\); save the file as UTF-8"),
    ("UTF-16", "study: x".encode("utf-16"), r":1: is not UTF-8"),
    (
        "a merge key",
        instead("  action:\n", "  action:\n    <<: {site: pre_qkv}\n"),
        r"\.action has a merge key \(<<",
    ),
    ("digits of another script", instead("steps: 400", "steps: \u0664\u0660"), r"training\.steps is the text '\u0664"),
    (
        "a number of 5000 digits",
        instead("steps: 400", "steps: " + "9" * 5000),
        r"steps is 99.* up to 9223372036854775807",
    ),
    ("a text of megabytes", instead('negative: ""', "negative: [" + "x" * 9999 + "]"), r"sampler\.negative is a list"),
    ("a control character", instead('negative: ""', r'negative: "a\0b"'), r"negative contains '\\x00'"),
    ("OmegaConf's missing", instead('negative: ""', 'negative: "???"'), r"negative is '\?\?\?', which OmegaConf reads"),
    ("a filled-in value", instead('negative: ""', "negative: ${oc.env:HOME}"), r"\$\{\.\.\.\} is not interpol"),
    ("a key that turns the writing", instead("steps: 400", "\u202esteps: 400"), r"training\.\\u202esteps is unknown"),
    ("a long name", instead("  spatial:", "  " + "s" * 101 + ":"), r"has a name of 101 characters; allowed: 100"),
]


@pytest.mark.parametrize(("content", "message"), [row[1:] for row in TEXTS], ids=[row[0] for row in TEXTS])
def test_hostile_text_is_refused_in_one_sentence(tmp_path: Path, content: str | bytes, message: str) -> None:
    path = written(tmp_path, content)
    with pytest.raises(MatrixError, match=message) as caught:
        load_matrix(path)
    assert str(caught.value).startswith(str(path))
    assert len(str(caught.value)) < 2000


CREDENTIALS = [
    ("s3://key:very-secret@bucket/x", "holds an address with a user and a password"),
    ("planted-value-of-a-key", r"holds the value of \$ECHO_TEST_DEPLOY_KEY"),
    ("hf_" + "b" * 34, r"holds what looks like a token \(hf_\.\.\.\)"),
]


@pytest.mark.parametrize(("value", "reason"), CREDENTIALS)
def test_credentials_are_refused_wherever_they_are_written_and_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str, reason: str
) -> None:
    monkeypatch.setenv("ECHO_TEST_DEPLOY_KEY", "planted-value-of-a-key")
    said = f"{reason}; remove it: credentials are read from the environment only"
    matrix = written(tmp_path, instead('negative: ""', f'negative: "{value}"'))
    line = MATRIX[: MATRIX.index('negative: ""')].count("\n") + 1
    with pytest.raises(MatrixError, match=rf"matrix\.yaml:{line}: {said}") as in_file:
        load_matrix(matrix)
    whole = load_matrix(ROOT / "matrix.yaml")
    with pytest.raises(MatrixError, match=rf"command line: controls\.sampler\.negative: {said}") as in_override:
        resolve_profile(whole, "laptop", [f"controls.sampler.negative={value}"])
    cluster = tmp_path / "cluster.yaml"
    shipped = (ROOT / "tests" / "spec" / "every_key.yaml").read_text(encoding="utf-8")
    cluster.write_text(shipped.replace("uri: null", f'uri: "{value}"'), encoding="utf-8")
    with pytest.raises(MatrixError, match=rf"cluster\.yaml:\d+: {said}") as in_cluster:
        load_cluster(cluster, tmp_path, WORKLOAD, backends())
    with pytest.raises(MatrixError, match="is not an override") as no_override:
        resolve_profile(whole, "laptop", [value])
    for caught in (in_file, in_override, in_cluster, no_override):
        assert value not in str(caught.value)
        assert "very-secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("secret", "spelled"),
    [
        ('planted "value" of a key', r'"planted \"value\" of a key"'),
        (r"planted\value-of-a-key", r'"planted\\value-of-a-key"'),
        ("a key's planted value", "'a key''s planted value'"),
    ],
)
def test_a_credential_that_is_spelled_with_escapes_is_refused_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, secret: str, spelled: str
) -> None:
    monkeypatch.setenv("ECHO_TEST_DEPLOY_KEY", secret)
    said = r"holds the value of \$ECHO_TEST_DEPLOY_KEY; remove it"
    with pytest.raises(MatrixError, match=rf"matrix\.yaml:\d+: .*{said}"):
        load_matrix(written(tmp_path, instead('negative: ""', f"negative: {spelled}")))
    with pytest.raises(MatrixError, match=rf"command line: controls\.sampler\.negative:? {said}"):
        resolve_profile(load_matrix(ROOT / "matrix.yaml"), "laptop", [f"controls.sampler.negative={spelled}"])


def test_a_file_of_windows_with_a_mark_of_order_is_read_like_any_other(tmp_path: Path) -> None:
    path = written(tmp_path, "\ufeff" + MATRIX.replace("\n", "\r\n"))
    assert load_matrix(path).rows == load_matrix(ROOT / "matrix.yaml").rows


def test_an_alias_stands_for_what_it_names(tmp_path: Path) -> None:
    path = written(tmp_path, instead("data: {height: 16, width: 16,", "data: {height: &side 16, width: *side,"))
    assert load_matrix(path).profiles["evening"].controls["data"]["width"] == 16


def test_a_text_has_one_spelling_whatever_its_letters_are_made_of(tmp_path: Path) -> None:
    # The fingerprint covers the composed form, so two spellings must be one job that computes one thing.
    path = written(tmp_path, instead('negative: ""', 'negative: "cafe\u0301"'))
    assert load_matrix(path).controls.sampler.negative == "caf\u00e9"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (Path.mkdir, "is a folder; name a file"),
        (os.mkfifo, "is not a regular file; name one that is"),
        (lambda path: path.symlink_to("/dev/zero"), "is not a regular file; name one that is"),
        (lambda path: path.symlink_to(path), "cannot be read"),
        (lambda path: path.parent.joinpath("other"), "no such file"),
    ],
)
def test_what_is_no_plain_file_is_refused_at_once(tmp_path: Path, make: object, message: str) -> None:
    path = tmp_path / "matrix.yaml"
    assert callable(make)
    make(path)
    with pytest.raises(MatrixError, match=message):
        compose_file(path)


def test_a_file_inside_a_file_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "matrix.yaml").write_text("x")
    with pytest.raises(MatrixError, match="no such file"):
        open_study(tmp_path / "matrix.yaml" / "matrix.yaml")


@pytest.mark.slow
def test_a_hundred_thousand_seeds_are_counted_and_refused_before_anything_is_made_of_them(tmp_path: Path) -> None:
    many = ", ".join(map(str, range(100_000)))
    path = written(tmp_path, instead("seeds: [0]", f"seeds: [{many}]"))
    with pytest.raises(MatrixError, match=rf"rows\(\d+\) \* .* \* seeds\(100000\); allowed: {MOST_CELLS}; split it"):
        open_study(path)


@pytest.mark.slow
def test_tens_of_thousands_of_rows_in_tables_and_deviations_are_read_in_seconds(tmp_path: Path) -> None:
    names = [f"r{i}" for i in range(20_000)]
    rows = "".join(f"  {name}: {{family: context, frames: {i + 1}}}\n" for i, name in enumerate(names))
    listed = ", ".join(names)
    text = instead("  context-k1:", f"{rows}  context-k1:")
    text = text.replace("tables:  ", f"tables:\n  all: [{listed}]\n#", 1)
    key = "controls.training.rate"
    text = text.replace(
        "  - {key:", f"  - {{key: {key}, rows: [{listed}], reason: all of them, value: 1.0}}\n  - {{key:", 1
    )
    assert len(text) < LARGEST_FILE
    path = written(tmp_path, text)
    matrix = load_matrix(path)
    assert len(matrix.rows) == 20_000 + len(load_matrix(ROOT / "matrix.yaml").rows)
    with pytest.raises(MatrixError, match=f"allowed: {MOST_CELLS}"):
        resolve_profile(matrix, "laptop", [f"seeds=[{', '.join(map(str, range(6)))}]"])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("controls.training.steps=" + "9" * 9999, "command line: controls.training.steps is 9999"),
        ("controls.sampler.negative=\udcff", "command line: controls.sampler.negative: is not UTF-8"),
        ("controls.sampler.negative=" + "[" * 5000, "nested more than 32 deep"),
        ("controls.sampler.negative=!!python/name:os.system", "has the tag"),
        ("controls.sampler.negative=${oc.env:HOME}", "not interpolated"),
        ("axes.values=[1]", "axes.values is unknown"),
        ("x" * 100_000 + "=1", "left out"),
        ("=1", "is unknown"),
        ("\u202ekey=\x1b", r"command line: \u202ekey: is not YAML: control characters"),
        ("k" * 100_000 + "=[", "command line: kkkk"),
    ],
)
def test_hostile_overrides_are_refused_in_one_sentence(override: str, message: str) -> None:
    matrix = load_matrix(ROOT / "matrix.yaml")
    with pytest.raises(MatrixError, match=re.escape(message)) as caught:
        resolve_profile(matrix, "laptop", [override])
    assert len(str(caught.value)) < 2000


@pytest.mark.parametrize(
    "arguments",
    [
        ["plan", "--matrix", "/dev/zero"],
        ["plan", "--matrix", "."],
        ["plan", "--cluster", "/dev/null"],
        ["plan", b"controls.sampler.negative=\xff"],
        ["plan", "--profile", b"\xff\x1b[31m"],
        ["plan", "seeds=[" * 900],
        ["run", "--rows", b"\xfe*", "--seeds", "\u0660"],
        ["status", "--matrix", b"\xff.yaml"],
        ["explain", b"\xff"],
    ],
)
def test_a_command_ends_with_2_and_one_message(
    arguments: list[str | bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("ECHO_MATRIX_HOME", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["echo-matrix", *map(os.fsdecode, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    shown = capfdbinary.readouterr()
    assert ended.value.code == 2, shown.err
    assert b"Traceback" not in shown.err
    assert shown.out == b""
    assert shown.err.startswith(b"echo-matrix: ")
    assert list(tmp_path.iterdir()) == []


def test_the_program_ends_with_2_and_without_a_traceback(tmp_path: Path) -> None:
    ended = subprocess.run(
        [Path(sys.executable).with_name("echo-matrix"), "plan", "--profile", b"\xff\x1b[31m"],
        cwd=ROOT,
        env={**os.environ, "ECHO_MATRIX_HOME": str(tmp_path)},
        capture_output=True,
        timeout=120,
    )
    assert ended.returncode == 2, ended.stderr
    assert b"Traceback" not in ended.stderr
    assert ended.stdout == b""
    assert ended.stderr.startswith(b"echo-matrix: ")
    assert list(tmp_path.iterdir()) == []
