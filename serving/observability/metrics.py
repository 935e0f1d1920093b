"""Prometheus metrics of a server, in a registry of their own, within a bounded number of series.

Bots are a label, and there may be thousands: the first 100 that are asked get a series each, the rest share "other". Names that
no bot has never become labels, or strangers could fill the memory with them.
"""

import asyncio
import threading
from collections.abc import Callable
from importlib.metadata import version as installed

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    start_http_server,
)
from prometheus_client.exposition import choose_encoder
from starlette.requests import Request
from starlette.responses import Response

MOST_BOTS = 100  # series per metric
OTHER = "other"
UNKNOWN = "unknown"  # a name was given that no bot has
PROTOCOLS = frozenset({"v1", "v2", "openai", "grpc", "page", "other"})
REASONS = {400: "bad", 408: "slow", 413: "large", 431: "headers", 401: "key", 403: "bot", 429: "requests", 503: "busy"}
REQUEST_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
FIRST_TOKEN_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1, 2.5, 5, 10)
TOKEN_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.25, 1)
LOAD_SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30)
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """What the engine, the repository and the requests tell, for GET /metrics. Every method is thread-safe and takes microseconds.

    `known` tells whether a bot of that name can be asked.
    """

    def __init__(self, known: Callable[[str], bool] = lambda _: False) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a line in ten, which nobody reads
        self._known = known
        self._bots: dict[str, str] = {}
        self._lock = threading.Lock()
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)  # memory, CPU, open files
        Gauge("mynah_build", "1, with the server's version.", ["version"], registry=registry).labels(installed("mynah")).set(1)
        self._requests = Counter("mynah_requests", "Requests answered.", ["bot", "protocol", "status"], registry=registry)
        self._rejected = Counter("mynah_rejected", "Requests refused, by reason.", ["reason"], registry=registry)
        self._tokens = Counter("mynah_tokens", "Tokens generated.", ["bot"], registry=registry)
        self._loads = Counter("mynah_loads", "Models loaded.", ["bot"], registry=registry)
        self._evictions = Counter(
            "mynah_evictions",
            "Models that left memory, for whatever reason.",
            ["bot"],
            registry=registry,
        )
        self._swaps = Counter("mynah_swaps", "Versions that took another's place.", ["bot"], registry=registry)
        self._seconds = self._histogram("mynah_request_seconds", "Seconds of a request.", REQUEST_SECONDS)
        self._first = self._histogram(
            "mynah_first_token_seconds", "Seconds until a streamed answer's first token.", FIRST_TOKEN_SECONDS
        )
        self._step = self._histogram("mynah_token_seconds", "Seconds of a step: one token of each sample.", TOKEN_SECONDS)
        self._load_seconds = Histogram("mynah_load_seconds", "Seconds of a load.", buckets=LOAD_SECONDS, registry=registry)
        self._batch = Histogram("mynah_batch_size", "Samples that a step decoded together.", buckets=BATCHES, registry=registry)
        self._prefilled = Counter("mynah_prompt_tokens", "Tokens of prompts read.", ["bot"], registry=registry)
        self._by_bot = (
            self._requests, self._tokens, self._loads, self._evictions, self._swaps, self._seconds, self._first, self._step, self._prefilled,
        )  # fmt: skip

    def _histogram(self, name: str, told: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(name, told, ["bot"], buckets=buckets, registry=self.registry)

    def watch(
        self,
        waiting: Callable[[], float],
        running: Callable[[], float],
        bots_loaded: Callable[[], float],
        models_bytes: Callable[[], float],
    ) -> None:
        """Ask these at each scrape: samples that wait and run, bots and bytes in memory."""
        gauges = {
            "mynah_queue_waiting": ("Requests that wait for their turn.", waiting),
            "mynah_running": ("Samples in the batch.", running),
            "mynah_bots_loaded": ("Models in memory.", bots_loaded),
            "mynah_models_bytes": ("Bytes that models hold.", models_bytes),
        }
        for name, (told, value) in gauges.items():
            Gauge(name, told, registry=self.registry).set_function(value)

    def label(self, bot: str) -> str:
        """The label that stands for `bot`: its name, "other", "unknown", or "" where none was named."""
        found = self._bots.get(bot)
        if found is not None:
            return found
        if not bot:
            return ""
        if not self._known(bot):
            return UNKNOWN
        return self._named(bot)

    def _named(self, bot: str) -> str:
        """The label of a bot that there is."""
        with self._lock:
            if len(self._bots) >= MOST_BOTS:
                return self._bots.get(bot, OTHER)
            return self._bots.setdefault(bot, bot)

    def request(self, bot: str, protocol: str, status: int, seconds: float) -> None:
        """A request that came to its end."""
        label = self.label(bot)
        self._requests.labels(label, protocol if protocol in PROTOCOLS else "other", str(status)).inc()
        self._seconds.labels(label).observe(seconds)

    def rejected(self, reason: str) -> None:
        """A request that was refused; `reason` is a word of ours."""
        self._rejected.labels(reason).inc()

    def first_token(self, bot: str, seconds: float) -> None:
        """Seconds from a request's arrival to its first token."""
        self._first.labels(self.label(bot)).observe(seconds)

    def tokens(self, bot: str, count: int) -> None:
        """Tokens that a request generated."""
        self._tokens.labels(self.label(bot)).inc(max(0, count))

    def step(self, label: str, batch: int, seconds: float) -> None:
        """The engine's: one decoding step, in which `batch` samples got a token each."""
        self._step.labels(self._named(label)).observe(seconds)
        self._batch.observe(batch)

    def prefill(self, label: str, prompts: int, tokens: int, seconds: float) -> None:
        """The engine's: `prompts` of `tokens` together were read."""
        del prompts, seconds  # a request's first token tells how long it took
        self._prefilled.labels(self._named(label)).inc(tokens)

    def loaded(self, name: str, seconds: float) -> None:
        """The repository's: a model was loaded."""
        self._loads.labels(self._named(name)).inc()
        self._load_seconds.observe(seconds)

    def evicted(self, name: str) -> None:
        """The repository's: a model made room."""
        self._evictions.labels(self._named(name)).inc()

    def swapped(self, name: str) -> None:
        """The repository's: another version took a model's place."""
        self._swaps.labels(self._named(name)).inc()

    async def route(self, request: Request) -> Response:
        """GET /metrics, in the format that the scraper prefers; for `app.add_route("/metrics", metrics.route)`.

        In a thread: with 100 bots it takes 50 ms, in which answers go on.
        """
        encode, kind = choose_encoder(request.headers.get("accept", ""))
        return Response(
            await asyncio.to_thread(encode, self.registry), headers={"content-type": kind, "cache-control": "no-store"}
        )

    def listen(self, host: str, port: int) -> Callable[[], None]:
        """Answer scrapers on a port of their own too, by threads; what to call to stop. Raises OSError when it can't be had."""
        server, thread = start_http_server(port, host, self.registry)

        def stop() -> None:
            server.shutdown()
            server.server_close()
            thread.join(5)

        return stop

    def forgotten(self, name: str) -> None:
        """The repository's: there is no such bot any more, and its name is not kept."""
        with self._lock:
            if self._bots.pop(name, None) is None:
                return
        for metric in self._by_bot:
            metric.remove_by_labels({"bot": name})
