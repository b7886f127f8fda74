"""The dashboard of a standing Ray cluster, through which `run --detach` starts the controller on the cluster's head."""

import http.client
import json
import urllib.error
from collections.abc import Mapping

from orchestrator.backends.ray.auth_token import token_of
from orchestrator.backends.ray.environment import join_environment
from orchestrator.errors import SiteError
from orchestrator.web import get
from orchestrator.wording import public_url

ANSWER_S = 5.0
MOST_BYTES = 4096
START = (
    "start the cluster's dashboard, or a tunnel to it: `ray dashboard FILE`, `kubectl port-forward`, "
    "`ssh -L 8265:127.0.0.1:8265 HEAD`"
)


def dashboard_version(address: str, environment: Mapping[str, str]) -> str:
    """The version of ray that a dashboard tells; it is asked with the user's token, and no ray is imported.

    Args:
        address: `ray.dashboard`.
        environment: of this process.

    Raises:
        SiteError: nothing of Ray answers there, or it refuses the token; says what to do.
    """
    has_token = {**environment, **join_environment(environment)}.get("RAY_AUTH_MODE", "").lower() == "token"
    headers = {"Authorization": f"Bearer {token_of(environment)}"} if has_token else {}
    try:
        with get(f"{address.rstrip('/')}/api/version", headers, ANSWER_S) as answer:
            found = json.loads(answer.read(MOST_BYTES))
        return str(found["ray_version"])
    except urllib.error.HTTPError as error:
        if error.code in (401, 403):
            sent = "it refuses the token" if has_token else "it asks for a token, and none was sent"
            remedy = "use that of the cluster: RAY_AUTH_TOKEN, or ~/.ray/auth_token"
            raise SiteError(unusable_dashboard(address, f"{sent} ({error.code})", remedy)) from error
        raise SiteError(
            unusable_dashboard(address, f"what answers there is no dashboard of Ray ({error.code})")
        ) from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        why = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
        raise SiteError(unusable_dashboard(address, f"nothing answers there ({why})")) from error
    except (ValueError, KeyError, TypeError) as error:
        raise SiteError(unusable_dashboard(address, "what answers there is no dashboard of Ray")) from error


def unusable_dashboard(address: str, why: str, remedy: str = START) -> str:
    """That a dashboard cannot be used, and what to do."""
    return f"ray.dashboard is {public_url(address)!r}: {why}; {remedy}"
