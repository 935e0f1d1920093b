"""The address at which a deployed bot is reached: KServe reports a URL also where no gateway makes it true."""

import http.client
import json
import urllib.request

from components.deploy.kserve_modes import service_of
from mynah.kubernetes.cluster import Object

SECONDS = 3.0  # to wait for an answer


def service_url(live: Object, predictor: Object) -> str:
    """Return the address of a predictor's Service within the cluster.

    Args:
        live: The InferenceService.
        predictor: Its predictor, or one of its canaries.
    """
    status = live.get("status") or {}
    is_stable = not predictor.get("name") or predictor.get("name") == live["spec"]["predictor"].get("name")
    reported = str((status.get("address") or {}).get("url", "")) if is_stable else ""
    return reported or f"http://{service_of(live, predictor)}.{live['metadata']['namespace']}.svc.cluster.local"


def answering(url: str) -> str:
    """Return `url` if a server of bots answers there from this machine; else ""."""
    if not url.startswith(("http://", "https://")):
        return ""
    try:
        with urllib.request.urlopen(f"{url.rstrip('/')}/v2/health/live", timeout=SECONDS) as response:  # noqa: S310 - http(s), see above
            health = json.loads(response.read(1000))
    except (OSError, ValueError, http.client.HTTPException):  # no such host, nothing listens, or a gateway that knows no such bot
        return ""
    return url if isinstance(health, dict) and health.get("live") is True else ""
