"""What Prometheus knows of a canary and of the version that it is measured against.

https://prometheus.io/docs/prometheus/latest/querying/api/#instant-queries; the metrics are those of serving/signals/metrics.py.
"""

import json
import math
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass

from components.errors import InputError, PlatformError

SECONDS_TO_ANSWER = 20.0


@dataclass(frozen=True, slots=True)
class Traffic:
    """What a version did within a window: requests, the share of them that failed (5xx), and the 95th percentile in seconds."""

    requests: float
    errors: float | None  # None without requests
    seconds: float | None


class Prometheus:
    """A Prometheus server's query API."""

    def __init__(self, url: str) -> None:
        if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
            raise InputError(f"{url[:100]!r} is no address of a Prometheus", "Give --prometheus http://HOST:9090.")
        self._url = url.rstrip("/")

    def check(self) -> None:
        """Raise PlatformError unless it answers: asked before a canary gets a request, not after."""
        if self.value("vector(1)") != 1:
            raise PlatformError(f"{self._url} answers, but not as Prometheus does", "Give --prometheus http://HOST:9090.")

    def traffic(self, namespace: str, pods: str, seconds: int) -> Traffic:
        """What the pods whose names begin with `pods` did in the last `seconds`. Raises PlatformError when it does not answer."""
        chosen = f'namespace="{namespace}",pod=~"{pods}.*"'
        requests = self.value(f"sum(increase(mynah_requests_total{{{chosen}}}[{seconds}s]))") or 0.0
        failed = self.value(f'sum(increase(mynah_requests_total{{{chosen},status=~"5.."}}[{seconds}s]))') or 0.0
        slow = self.value(f"histogram_quantile(0.95, sum by (le) (rate(mynah_request_seconds_bucket{{{chosen}}}[{seconds}s])))")
        return Traffic(requests, failed / requests if requests else None, slow)

    def value(self, query: str) -> float | None:
        """The one value of an instant query; None when there is no data, or no number. Raises PlatformError when it fails."""
        address = f"{self._url}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
        try:
            with urllib.request.urlopen(address, timeout=SECONDS_TO_ANSWER) as answer:  # noqa: S310 - checked above
                found = json.loads(answer.read())
            if found["status"] != "success":
                raise ValueError(found.get("error", found["status"]))
            results = found["data"]["result"]
            value = float(results[0]["value"][1]) if results else math.nan
        except urllib.error.HTTPError as error:
            raise self._failed(f"({error.code}) {error.read()[:200].decode('utf-8', 'replace')}") from error
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise self._failed(error) from error
        return value if math.isfinite(value) else None

    def _failed(self, cause: object) -> PlatformError:
        return PlatformError(
            f"the Prometheus at {self._url} cannot be asked: {str(cause)[:200]}",
            "Is it running, and is this its address? kubectl port-forward makes one in the cluster reachable.",
        )
