"""Query Prometheus for the traffic of a canary and of the version that it is compared with.

https://prometheus.io/docs/prometheus/latest/querying/api/#instant-queries; the metrics are those of serving/observability/metrics.py.
"""

import json
import math
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass

from mynah.core.errors import InputError, PlatformError

SECONDS_TO_ANSWER = 20.0


@dataclass(frozen=True, slots=True)
class Traffic:
    """A version's traffic within a window: requests, the share that failed (5xx), and the 95th percentile of latency in seconds."""

    requests: float
    errors: float | None  # None without requests
    seconds: float | None


class Prometheus:
    """A Prometheus server's query API."""

    def __init__(self, url: str) -> None:
        if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
            raise InputError(f"{url[:100]!r} is not a URL of Prometheus", "Give --prometheus http://HOST:9090.")
        self._url = url.rstrip("/")

    def check(self) -> None:
        """Raise PlatformError unless the server responds. Call it before a canary gets requests."""
        if self.value("vector(1)") != 1:
            raise PlatformError(f"{self._url} answers, but not as Prometheus does", "Give --prometheus http://HOST:9090.")

    def traffic(self, namespace: str, pods: str, seconds: int) -> Traffic:
        """Measure the traffic of pods.

        Args:
            namespace: Their namespace.
            pods: The prefix of their names.
            seconds: The length of the window that ends now.

        Returns:
            The traffic.

        Raises:
            PlatformError: The server does not respond as Prometheus does.
        """
        selector = f'namespace="{namespace}",pod=~"{pods}.*"'
        requests = self.value(f"sum(increase(mynah_requests_total{{{selector}}}[{seconds}s]))") or 0.0
        failed = self.value(f'sum(increase(mynah_requests_total{{{selector},status=~"5.."}}[{seconds}s]))') or 0.0
        slow = self.value(f"histogram_quantile(0.95, sum by (le) (rate(mynah_request_seconds_bucket{{{selector}}}[{seconds}s])))")
        return Traffic(requests, failed / requests if requests else None, slow)

    def value(self, query: str) -> float | None:
        """Return the single value of an instant query; None without data, or for a value that is not finite. Raises PlatformError when it fails."""
        address = f"{self._url}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
        try:
            with urllib.request.urlopen(address, timeout=SECONDS_TO_ANSWER) as response:  # noqa: S310 - __init__ accepts only http(s)
                body = json.loads(response.read())
            if body["status"] != "success":
                raise ValueError(body.get("error", body["status"]))
            results = body["data"]["result"]
            value = float(results[0]["value"][1]) if results else math.nan
        except urllib.error.HTTPError as error:
            raise self._failed(f"({error.code}) {error.read()[:200].decode('utf-8', 'replace')}") from error
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise self._failed(error) from error
        return value if math.isfinite(value) else None

    def _failed(self, cause: object) -> PlatformError:
        return PlatformError(
            f"the Prometheus at {self._url} failed: {str(cause)[:200]}",
            "Is it running, and is this its address? kubectl port-forward makes one in the cluster reachable.",
        )
