"""Masking both ways: no secret of an environment is left in a text, and a text without one stays as it is."""

import json
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from workloads.runtime.masking import credential_in, mask, secrets_of
from workloads.runtime.secret_forms import MASK
from workloads.runtime.secret_names import is_ordinary, kind_of

SECRET_NAMES = (
    *("API_KEY", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "HF_TOKEN", "DB_PASS", "MYSQL_PWD"),
    *("PGPASSWORD", "SSHPASS", "SLURM_JWT", "REDISCLI_AUTH", "PROXY_AUTH", "SESSION_COOKIE", "GOOGLE_CREDENTIALS"),
    *(
        "npm_config__authToken",
        "githubToken",
        "apiKey",
        "GITHUB_PAT",
        "AZURE_STORAGE_SAS_TOKEN",
        "CREDENTIAL",
        "OAUTH2",
    ),
    *(
        "X-Amz-Security-Token",
        "X-Amz-Signature",
        "sig",
        "Signature",
        "DEPLOY_KEY_2",
        "MLFLOW_TRACKING_PASSWORD",
        "KEY1",
    ),
)
OTHER_NAMES = (
    *(
        "PWD",
        "OLDPWD",
        "SSH_AUTH_SOCK",
        "AUTHOR",
        "GIT_AUTHOR_NAME",
        "XAUTHORITY",
        "MONKEY",
        "KEYBOARD",
        "KEYMAP",
        "PATH",
    ),
    *("TOKENIZERS_PARALLELISM", "TOKEN_LIMIT", "MAX_TOKENS", "AUTH_METHOD", "HF_TOKEN_PATH", "COOKIE_FILE", "PASSAGE"),
    *("BYPASS", "GIT_ASKPASS", "COMPASS_MODE", "SECRETARY", "AUTHENTICITY", "JWT_ALGORITHM", "KEY_FILE", "TURKEY", ""),
)


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_a_name_of_a_secret_is_known(name: str) -> None:
    assert kind_of(name)


@pytest.mark.parametrize("name", OTHER_NAMES)
def test_a_name_with_letters_of_one_is_not(name: str) -> None:
    assert kind_of(name) is None


@pytest.mark.parametrize(
    "value",
    [
        *(
            "context",
            "context-k5",
            "true",
            "false",
            "4096",
            "2026-11-29",
            "12:30:00",
            "0.0.0.0",
            "spatial-readout",
            "RS256",
        ),
        *(
            "/home/me/.aws/credentials",
            "~/.netrc",
            "oauth2",
            "fp16",
            "none",
            "client_credentials",
            "us-east-1",
            "x86_64",
        ),
        *("/etc/ssl/private/key.pem", "cuda:0", "controls.sampler", "5.0", "-1"),
    ],
)
def test_what_a_text_holds_by_chance_is_ordinary(value: str) -> None:
    assert is_ordinary(value)


@pytest.mark.parametrize(
    "value",
    [
        *("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "/K7MDENGxbPxRfiCYEXA/MPLEKEYwJalrXUtn", "x7!qp2", "qzkfvwxp"),
        *("correct horse battery staple", "a1b2c3d4", "p\u00e4ssw\u00f6rd", "123456789012", "tr0ub4dor&3", "D41d8cd9"),
    ],
)
def test_what_no_text_holds_by_chance_is_not(value: str) -> None:
    assert not is_ordinary(value)


LETTERS = "abcdefghijklmnopqrstuvwxyz"
# Letters of two kinds and digits, and what notations change: quotes, slashes, percent signs, letters of other scripts.
ANY = st.text(
    st.sampled_from([*LETTERS, *LETTERS.upper(), *"0123456789+/=_-.!$&'\"\\ %@:#<>\u00e9\u4e16"]), max_size=30
)
MACHINE_MADE = st.builds(
    lambda begin, middle, end: f"{begin}Q7{middle}z{end}",
    *(st.sampled_from(LETTERS), ANY.map(str.strip), st.sampled_from("0123456789")),
).filter(lambda value: len(value) >= 8)
CHOSEN = st.from_regex(r"[a-z]{3,8}[0-9!$]{1,4}[A-Z]{2,3}", fullmatch=True)
NAMES_OF_PASSWORDS = ("DB_PASS", "MYSQL_PWD", "PGPASSWORD", "MLFLOW_TRACKING_PASSWORD")
ENVIRONMENT = st.dictionaries(st.sampled_from(SECRET_NAMES), MACHINE_MADE, min_size=1, max_size=3).flatmap(
    lambda one: st.dictionaries(st.sampled_from(NAMES_OF_PASSWORDS), CHOSEN, max_size=2).map(lambda two: {**one, **two})
)
NOTATIONS = (
    lambda value: value,
    lambda value: quote(value, safe=""),
    quote,
    quote_plus,
    lambda value: quote(value, safe="").replace("%2F", "%2f"),
    json.dumps,
    lambda value: json.dumps(value, ensure_ascii=False),
    repr,
    lambda value: json.dumps({"detail": repr(value)}),
    lambda value: f"Authorization: Bearer {value}",
    lambda value: f"https://me:{quote(value, safe='')}@host/path",
    lambda value: f"https://host/?sig={quote(value, safe='')}&se=2026",
)
BETWEEN = st.sampled_from(
    ["", " ", "step 5 of 400, loss 0.25 ", "\n", "x", '{"a": 1, "b": "', "-", "=", "http://host/", "r0 | "]
)


def readings(text: str) -> set[str]:
    """What a text says to a person, in the notations that the masked values were written in."""
    return {text, text.replace("\\\\", "\\"), text.replace('\\"', '"'), text.replace("\\\\", "\\").replace('\\"', '"')}


@settings(max_examples=40, deadline=None)
@given(
    environment=ENVIRONMENT,
    parts=st.lists(st.tuples(BETWEEN, st.integers(0, 9), st.sampled_from(NOTATIONS)), min_size=1, max_size=6),
)
@example(environment={"DB_PASS": "x7!qp2Q"}, parts=[("password is ", 0, NOTATIONS[0]), (".", 0, NOTATIONS[0])])
def test_no_secret_of_an_environment_is_left_in_a_text(environment: dict[str, str], parts: list) -> None:  # type: ignore[type-arg]
    values = sorted(environment.values())
    text = "".join(between + write(values[number % len(values)]) for between, number, write in parts)
    masked = mask(text, secrets_of(environment))
    assert not [value for value in values for read in readings(masked) if value in read], (text, masked)


WORDS = st.sampled_from(
    [
        *(
            "context-k5",
            "context",
            "train/context-k20/s0",
            "spatial-readout",
            "loss",
            "0.4611",
            "step 371/400",
            "compress",
        ),
        *("4.33/s", "the key of a mapping", "token", "a password is wanted", "max_tokens=800", "KeyError: 'steps'"),
        *("sort(key=lambda one: one.name)", "https://host:8080/v1/models?page=2&limit=10", "s3://bucket/prefix/x.json"),
        *("ssh://git@host/x", "me@host", "2026-11-29T16:32:39Z", "/home/me/outputs", "3f8a9c0d1e2b", "PWD=/home/me"),
        *("Authorization is required", "the cookie jar", "x-axis: steps", "author: Ann", "key: value", "auth = none"),
        *(
            '{"tokens": 4096}',
            "password=None",
            "bearer of news",
            "cuda:0",
            "a@b:c",
            "http://127.0.0.1:5000/#/runs",
            "\u4e16",
        ),
    ]
)
ORDINARY = {
    "TOKEN_LIMIT": "context",
    "TOKEN": "context",
    "MAX_TOKENS": "800",
    "AUTH": "none",
    "PWD": "/home/me",
    "OLDPWD": "/home/me/outputs",
    "SSH_AUTH_SOCK": "/home/me/agent",
    "AUTHOR": "Ann",
    "KEY": "value",
    "COOKIE_JAR": "/home/me",
    "DEBUG_PASS": "1",
    "PASSWORD": "password",
}
KEPT_SECRET = {
    "API_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "DB_PASS": "x7!q",
    "MLFLOW_TRACKING_PASSWORD": "rosebud",
}


@settings(max_examples=40, deadline=None)
@given(words=st.lists(WORDS, max_size=12), between=st.sampled_from([" ", "\n", ", ", "-> "]))
def test_a_text_without_a_secret_stays_as_it_is(words: list[str], between: str) -> None:
    text = between.join(words)
    assert mask(text, secrets_of({**ORDINARY, **KEPT_SECRET})) == text


@pytest.mark.parametrize(
    ("environment", "text", "masked"),
    [
        ({"DB_PASS": "x7!q"}, "no login with x7!q.", "no login with ***."),
        ({"DB_PASS": "x7!q"}, "ax7!qb", "ax7!qb"),
        ({"DB_PASS": "rosebud"}, "no login with rosebud", "no login with ***"),
        ({"DB_PASS": "rosebud"}, "row rosebud-k5 and rosebuds", "row rosebud-k5 and rosebuds"),
        ({"DB_PASS": "hunter2"}, "xhunter2x", "x***x"),
        ({"DB_PASS": "123456"}, "with 123456, not with 1234567", "with ***, not with 1234567"),
        ({"DB_PASS": "1234"}, "step 1234 with DB_PASS=1234", "step 1234 with DB_PASS=***"),
        ({"API_KEY": "open-sesame-open"}, "with open-sesame-open, not open-sesame", "with ***, not open-sesame"),
        ({"API_KEY": "open-sesame-open"}, "row open-sesame-open-k5", "row open-sesame-open-k5"),
        ({"TOKEN": "us-east-1"}, "in us-east-1", "in us-east-1"),
        ({"TOKEN": "context"}, "context, TOKEN=context", "context, TOKEN=***"),
        ({"TOKEN": "context"}, "{'TOKEN': 'context', 'ROW': 'context'}", "{'TOKEN': '***', 'ROW': 'context'}"),
        ({"TOKEN": "context"}, r'"{\"TOKEN\": \"context\"}"', r'"{\"TOKEN\": \"***\"}"'),
        ({"KEY": "a\nbcd77efQ\n"}, "line bcd77efQ", "line ***"),
        ({"URL": "https://me:p@ss7word@host/x"}, "with p@ss7word", "with ***"),
        ({"http_proxy": "me:s3cret99@proxy:3128"}, "with s3cret99", "with ***"),
        ({"DSN": "host=db user=me password='x y7z9q' dbname=d"}, "with x y7z9q", "with ***"),
        ({"BLOB": "AccountName=me;AccountKey=Zm9vYmFyMTIz==;X=y"}, "with Zm9vYmFyMTIz==", "with ***"),
        ({"BLOB": "https://a.blob/c?sv=1&sig=Zm9v%2BmFy12%3D"}, "with Zm9v+mFy12=", "with ***"),
        ({"GOOGLE_CREDENTIALS": '{"private_key": "Ab1\\nCd2Ef3\\n", "x": [1]}'}, "line Cd2Ef3", "line ***"),
        ({"DATA": '{"client": {"client_secret": "Ab1Cd2Ef3"}}'}, "with Ab1Cd2Ef3", "with ***"),
        ({"DATA": "{" * 9999}, "text", "text"),
        ({"DB_PASS": "p\udcff7ssw0rd"}, "with p\ufffd7ssw0rd", "with ***"),
    ],
)
def test_a_value_is_masked_where_it_gives_something_away(environment: dict[str, str], text: str, masked: str) -> None:
    assert mask(text, secrets_of(environment)) == masked


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        (
            "GET https://b.s3/x?X-Amz-Date=2026&X-Amz-Signature=0a1b2c HTTP",
            "GET https://b.s3/x?X-Amz-Date=2026&X-Amz-Signature=*** HTTP",
        ),
        (
            "?X-Amz-Credential=AKIA1/2026/s3&X-Amz-Security-Token=Fwo%2F7Q",
            "?X-Amz-Credential=***&X-Amz-Security-Token=***",
        ),
        ('https://a.blob/c?sv=2024&se=2026&sig=Zm9v%2Bm%3D"', 'https://a.blob/c?sv=2024&se=2026&sig=***"'),
        ("https://s.google/b/o?X-Goog-Signature=3f2a99&x=1", "https://s.google/b/o?X-Goog-Signature=***&x=1"),
        ("?GoogleAccessId=me&Expires=1&Signature=Ab%2Bc3", "?GoogleAccessId=me&Expires=1&Signature=***"),
        (
            "/login?next=https%3A%2F%2Fh%2F%3Fsig%3DZm9v1%26se%3D2",
            "/login?next=https%3A%2F%2Fh%2F%3Fsig%3D***%26se%3D2",
        ),
        ("<a href='?a=1&amp;sig=Zm9v1&amp;b=2'>", "<a href='?a=1&amp;sig=***&amp;b=2'>"),
        (r'"?a=1\u0026sig=Zm9v1\u0026b=2"', r'"?a=1\u0026sig=***\u0026b=2"'),
        ("http://127.0.0.1:8888/?token=4f3c2b1a", "http://127.0.0.1:8888/?token=***"),
        ("?password=abc&user=me", "?password=***&user=me"),
        ("redis://:abc@host/0, http://me:p@ss@host", "redis://***@host/0, http://***@host"),
        ("ssh://me:abc@host and ssh://git@host", "ssh://***@host and ssh://git@host"),
        ("{'Authorization': 'Bearer abc'}", "{'Authorization': 'Bearer ***'}"),
        ("authorization: Basic bWU6YWJj\r\nHost: x", "authorization: Basic ***\r\nHost: x"),
        ("Authorization: AWS4-HMAC-SHA256 Credential=A/b, Signature=0a1b", "Authorization: AWS4-HMAC-SHA256 ***"),
        ("Proxy-Authorization: q1w2e3r4", "Proxy-Authorization: ***"),
        ("Set-Cookie: session=abc; Path=/", "Set-Cookie: ***"),
        ("X-Api-Key: q1w2e3r4, X-Amz-Date: 2026", "X-Api-Key: ***, X-Amz-Date: 2026"),
        ("used bearer q1w2e3r4t5", "used bearer ***"),
        ("AccountName=me;AccountKey=Zm9v1==;X=y", "AccountName=me;AccountKey=***;X=y"),
        ("host=db password=q1w2e3 dbname=d", "host=db password=*** dbname=d"),
        ("https://hooks.slack.com/services/T0/B0/abcdefghij0123456789", "https://hooks.slack.com/services/***"),
        (
            "-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----",
            "-----BEGIN PRIVATE KEY-----***-----END PRIVATE KEY-----",
        ),
        ("github_pat_" + "a1" * 20, MASK),
    ],
)
def test_what_has_the_form_of_a_secret_is_masked_whoevers_it_is(text: str, masked: str) -> None:
    assert mask(text, ()) == masked
    assert mask(masked, ()) == masked, "a second look changes nothing"
    assert credential_in(text, {}), "and no configuration may hold it"
