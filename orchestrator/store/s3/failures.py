"""Failures of S3 in words: what is wrong, where, and what to do; and whether the same call may succeed later."""

import errno
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from botocore import exceptions as boto
from botocore.parsers import ResponseParserError

from orchestrator.errors import ArtifactMissing, StoreError, StoreUnreachable
from orchestrator.store.location import StoreLocation
from workloads.runtime.masking import Secret, mask, secrets_of

CHAIN = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE with a profile in ~/.aws"
WRONG_KEY = frozenset({"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "InvalidSecurity", "AuthFailure"})
EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired"})
ELSEWHERE = frozenset(
    {
        "PermanentRedirect",
        "301",
        "AuthorizationHeaderMalformed",
        "TemporaryRedirect",
        "307",
        "AuthorizationQueryParametersError",
    }
)
DENIED = frozenset({"AccessDenied", "AllAccessDisabled", "AccountProblem", "NotSignedUp", "Forbidden", "403", "401"})
CONFLICT = frozenset({"ConditionalRequestConflict", "OperationAborted", "409"})
PRECONDITION = frozenset({"PreconditionFailed", "412"})
NO_OBJECT = frozenset({"NoSuchKey", "NoSuchVersion"})
BUSY = frozenset({"SlowDown", "Throttling", "ThrottlingException", "TooManyRequests", "RequestLimitExceeded", "429"})
PASSING = frozenset(
    {"InternalError", "ServiceUnavailable", "RequestTimeout", "RequestTimeoutException", "IncompleteBody", "BadDigest",
     "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch", "InvalidDigest"}
)  # fmt: skip
"""Refusals that come of a bad moment or a damaged transfer."""
NO_CREDENTIALS = (
    boto.NoCredentialsError,
    boto.PartialCredentialsError,
    boto.CredentialRetrievalError,
    boto.ProfileNotFound,
    boto.TokenRetrievalError,
    boto.NoAuthTokenError,
    boto.SSOError,
    boto.UnknownCredentialError,
    boto.ConfigParseError,
)
GATEWAY = frozenset({502, 503, 504})
"""Status of pages with which a proxy says that the service behind it does not respond."""
LONGEST = 300
"""Characters of the service's own words."""


def translated(
    error: Exception, location: StoreLocation, where: str, environment: Mapping[str, str]
) -> StoreError | StoreUnreachable:
    """One of boto3's errors as ours; `where`: key below the store's prefix; secrets of `environment` are masked."""
    secrets = secrets_of(environment)
    url = f"{location.url}/{where}" if where else location.url
    place = f"{url} at {location.service}" if location.endpoint else url
    if isinstance(error, boto.ClientError):
        found = _refusal(error, location, place, url, secrets)
    else:
        found = _failure(error, location, place, secrets)
    text = mask(str(found), secrets)
    return (
        StoreUnreachable(found.errno or errno.EIO, text) if isinstance(found, StoreUnreachable) else type(found)(text)
    )


def _refusal(
    error: boto.ClientError, location: StoreLocation, place: str, url: str, secrets: Sequence[Secret]
) -> StoreError | StoreUnreachable:
    """What the service has answered, in words."""
    about: Mapping[str, Any] = error.response.get("Error", {})
    metadata: Mapping[str, Any] = error.response.get("ResponseMetadata", {})
    status, headers = int(metadata.get("HTTPStatusCode", 0)), metadata.get("HTTPHeaders", {})
    code = str(about.get("Code", "") or status)
    # Masked before it is cut: half a secret is not recognised.
    words = " ".join(mask(str(about.get("Message", "")), secrets).split())[:LONGEST]
    said = f"{code}: {words}" if words else code
    service, bucket = location.service, location.url.split("/")[2]
    if code in NO_OBJECT:
        return ArtifactMissing(f"{url}: no such object")
    if code == "NoSuchBucket":
        return StoreError(
            f"{place}: {service} has no bucket {bucket!r}; create it, or correct store.url and store.endpoint "
            "in the cluster file"
        )
    if code in EXPIRED:
        return StoreError(
            f"{place}: the credentials have expired ({said}); get new ones (`aws sso login`, or a new "
            "AWS_SESSION_TOKEN), on every machine that runs jobs, then `run` again: completed jobs stay completed"
        )
    if code in WRONG_KEY:
        return StoreError(
            f"{place}: {service} does not know these credentials ({said}); correct {CHAIN}; an access key "
            "belongs to one service: check store.endpoint too"
        )
    if code == "RequestTimeTooSkewed":
        return StoreError(
            f"{place}: the clock of this machine is wrong by {_skew(about, headers)}; S3 refuses what is signed more "
            "than 15 minutes off; set the clock (`timedatectl set-ntp true`)"
        )
    if code in ELSEWHERE or ("x-amz-bucket-region" in headers and status in (301, 307, 400)):
        region = str(about.get("Region") or headers.get("x-amz-bucket-region") or "")
        name = (
            f"is in region {region}; write region: {region}" if region else f"is in another region ({said}); write it"
        )
        return StoreError(f"{place}: the bucket {bucket!r} {name} under store in the cluster file")
    if code.isdecimal() and not error.operation_name.startswith("Head"):  # an answer without a code of S3
        kind = headers.get("content-type", "")
        if "xml" in kind:
            return StoreUnreachable(errno.EIO, f"{place}: the answer of {service} arrived damaged (HTTP {status})")
        page = "html" in kind and status not in GATEWAY  # boto3 calls a page instead of XML a 500
        if page or (400 <= status < 500 and status not in (401, 403, 429)):
            return StoreError(
                f"{place}: {service} answers HTTP {status} without an error of S3, so no S3 service is there; correct "
                "store.endpoint in the cluster file"
            )
    if code in BUSY or status == 429:
        return StoreUnreachable(errno.EBUSY, f"{place}: {service} asks for fewer requests ({said})")
    if code in PASSING or (status >= 500 and code != "NotImplemented" and status != 501):
        return StoreUnreachable(errno.EIO, f"{place}: {service} fails now ({said})")
    if code in CONFLICT:
        return StoreUnreachable(errno.EAGAIN, f"{place}: another request changes the same object now ({said})")
    if code in DENIED or status in (401, 403):
        return StoreError(
            f"{place}: {service} denies access ({said}); allow these credentials s3:GetObject, s3:PutObject, "
            f"s3:DeleteObject and s3:AbortMultipartUpload below the prefix and s3:ListBucket on {bucket!r}"
        )
    if code == "NotImplemented" or status == 501:
        return StoreError(f"{place}: {service} does not support this request ({said}); use another service")
    return StoreError(f"{place}: {service} refuses {error.operation_name} ({said})")


def _failure(
    error: Exception, location: StoreLocation, place: str, secrets: Sequence[Secret]
) -> StoreError | StoreUnreachable:
    """Why there was no answer of S3, in words."""
    service = location.service
    said = " ".join(mask(str(error), secrets).split())[:LONGEST]
    if isinstance(error, NO_CREDENTIALS):
        return StoreError(
            f"{place}: no credentials on this machine ({said.rstrip('.')}); set {CHAIN}, on every machine that "
            "runs jobs; they are never written into a file of the study"
        )
    if isinstance(error, boto.SSLError):
        return StoreError(
            f"{place}: no TLS with {service} ({said}); if its certificate is of your own authority, set AWS_CA_BUNDLE "
            "to the authority's file; if it speaks plain HTTP, write endpoint: http://..."
        )
    if isinstance(error, ResponseParserError | boto.EndpointProviderError):
        return StoreError(
            f"{place}: {service} answers, but not like an S3 service ({said}); correct store.endpoint in the cluster "
            "file"
        )
    if isinstance(error, boto.EndpointConnectionError | boto.ProxyConnectionError):
        return StoreUnreachable(
            errno.ECONNREFUSED,
            f"{place}: {service} cannot be reached ({said}); check store.endpoint in the cluster file and the network",
        )
    if isinstance(error, boto.ReadTimeoutError | boto.ConnectTimeoutError):
        return StoreUnreachable(errno.ETIMEDOUT, f"{place}: {service} does not answer in time ({said})")
    if isinstance(error, boto.FlexibleChecksumError | boto.IncompleteReadError | boto.ChecksumError):
        return StoreUnreachable(errno.EIO, f"{place}: the answer of {service} arrived damaged ({said})")
    if isinstance(error, boto.HTTPClientError | boto.ConnectionError):
        return StoreUnreachable(errno.ECONNRESET, f"{place}: the connection to {service} broke off ({said})")
    return StoreError(f"{place}: {type(error).__name__}: {said}")


def _skew(about: Mapping[str, Any], headers: Mapping[str, str]) -> str:
    """By how much the clocks differ, as far as the answer tells."""
    try:
        theirs = datetime.fromisoformat(str(about["ServerTime"]))
        ours = datetime.strptime(str(about["RequestTime"]), "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except (KeyError, ValueError):
        date = headers.get("date", "")
        return f"more than that service allows (its time is {date})" if date else "more than that service allows"
    minutes = (ours - theirs).total_seconds() / 60
    return f"{abs(minutes):.0f} minutes ({'fast' if minutes > 0 else 'slow'})"
