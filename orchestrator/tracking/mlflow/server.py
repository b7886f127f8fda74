"""An MLflow server, asked without MLflow: which request tells whether it answers."""

import base64
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit, urlunsplit

TOKEN, USER, PASSWORD = "MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"
QUESTION = "/api/2.0/mlflow/experiments/search?max_results=1"
"""Answered with a JSON object, and only to those who may see runs; `/health` is answered to everybody."""
CREDENTIALS = f"start it, or set tracking.uri: null; if it asks for credentials, set {TOKEN}, or {USER} and {PASSWORD}"
"""What to do where it does not answer."""


def api_request(uri: str, environment: Mapping[str, str], question: str = QUESTION) -> tuple[str, dict[str, str]]:
    """Address and headers of a request to the API of the server at `tracking.uri`.

    Credentials are those that MLflow sends: of the address, else of the environment.
    """
    try:
        parts = urlsplit(uri.rstrip("/"))
    except ValueError:  # whoever sends the request says so
        return uri, {}
    user, _, host = parts.netloc.rpartition("@")
    url = urlunsplit(parts._replace(netloc=host)) + question
    if user or USER in environment:
        name, _, password = user.partition(":")
        pair = (unquote(name), unquote(password)) if user else (environment[USER], environment.get(PASSWORD, ""))
        return url, {"Authorization": "Basic " + base64.b64encode(":".join(pair).encode()).decode()}
    if TOKEN in environment:
        return url, {"Authorization": f"Bearer {environment[TOKEN]}"}
    return url, {}
