"""Requests to servers that the user names, which may carry credentials."""

import urllib.request
from collections.abc import Mapping
from http.client import HTTPResponse
from urllib.parse import urlsplit


class NoRedirects(urllib.request.HTTPRedirectHandler):
    """Makes a redirect an answer like any other: urllib would send the credentials along, to wherever it leads."""

    def redirect_request(self, *_given: object) -> None:
        """Nothing is asked again."""


def get(url: str, headers: Mapping[str, str], timeout_s: float, content: bytes | None = None) -> HTTPResponse:
    """The answer to a GET, or with `content` to a POST, to be closed by the caller; a redirect is not followed.

    Raises:
        urllib.error.HTTPError: the answer is no success; a redirect is none.
        OSError, http.client.HTTPException: there is no answer.
        ValueError: it is no URL of http or https.
    """
    if urlsplit(url).scheme not in ("http", "https"):
        raise ValueError("no http address")
    request = urllib.request.Request(url, data=content, headers=dict(headers))
    found: HTTPResponse = urllib.request.build_opener(NoRedirects).open(request, timeout=timeout_s)
    return found
