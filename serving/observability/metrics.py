"""The server's Prometheus metrics, in a registry of their own, with a bounded number of series.

Bots are a label, and there can be thousands: the first 100 that are queried get a series each, the others share "other". Names of no
bot never become labels, since clients could fill the memory with them.
"""

import asyncio
import threading
from collections.abc import Callable, Collection, Mapping
from importlib.metadata import version as installed
from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
    from serving.models.footprint import MemoryUse


MAX_BOTS = 100  # series per metric
OTHER = "other"
UNKNOWN = "unknown"  # the label of names that no bot has
PROTOCOLS = frozenset({"v1", "v2", "openai", "grpc", "page", "other"})
REASONS = {400: "bad", 408: "slow", 413: "large", 431: "headers", 401: "key", 403: "bot", 429: "requests", 503: "busy"}
REQUEST_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
FIRST_TOKEN_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1, 2.5, 5, 10)
TOKEN_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.25, 1)
LOAD_SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30)
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """The metrics of engine, repository and requests, for GET /metrics. All methods are thread-safe and take microseconds.

    Args:
        known: returns whether a bot of that name exists.
    """

    def __init__(self, known: Callable[[str], bool] = lambda _: False) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # they would be a tenth of all lines
        self._known = known
        self._bots: dict[str, str] = {}
        self._lock = threading.Lock()
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)  # memory, CPU, open files
        Gauge("mynah_build", "1, with the server's version.", ["version"], registry=registry).labels(installed("mynah")).set(1)
        self._kernels = Gauge(
            "mynah_kernels",
            "1, with the kernels that compute the models.",
            ["kernels", "weights", "processor", "threads"],
            registry=registry,
        )
        self._requests = Counter("mynah_requests", "Requests answered.", ["bot", "protocol", "status"], registry=registry)
        self._rejected = Counter("mynah_rejected", "Requests refused, by reason.", ["reason"], registry=registry)
        self._tokens = Counter("mynah_tokens", "Tokens generated.", ["bot"], registry=registry)
        self._loads = Counter("mynah_loads", "Models loaded.", ["bot"], registry=registry)
        self._evictions = Counter(
            "mynah_evictions",
            "Models removed from memory, for any reason.",
            ["bot"],
            registry=registry,
        )
        self._swaps = Counter("mynah_swaps", "Versions that replaced another in memory.", ["bot"], registry=registry)
        self._seconds = self._histogram("mynah_request_seconds", "Duration of a request in seconds.", REQUEST_SECONDS)
        self._first = self._histogram(
            "mynah_first_token_seconds", "Seconds until a streamed answer's first token.", FIRST_TOKEN_SECONDS
        )
        self._step = self._histogram(
            "mynah_token_seconds", "Duration of a decoding step in seconds: one token for each sample.", TOKEN_SECONDS
        )
        self._load_seconds = Histogram(
            "mynah_load_seconds", "Duration of a model load in seconds.", buckets=LOAD_SECONDS, registry=registry
        )
        self._batch = Histogram("mynah_batch_size", "Samples decoded together in a step.", buckets=BATCHES, registry=registry)
        self._prefilled = Counter("mynah_prompt_tokens", "Prompt tokens processed.", ["bot"], registry=registry)
        self._by_bot = (
            self._requests, self._tokens, self._loads, self._evictions, self._swaps, self._seconds, self._first, self._step, self._prefilled,
        )  # fmt: skip

    def _histogram(self, name: str, help_text: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(name, help_text, ["bot"], buckets=buckets, registry=self.registry)

    def set_kernels(self, record: Mapping[str, str | int]) -> None:
        """Set the kernels that compute the models, as labels."""
        self._kernels.labels(**record).set(1)

    def register_gauges(
        self,
        waiting: Callable[[], float],
        running: Callable[[], float],
        bots_loaded: Callable[[], float],
        memory_use: "Callable[[], MemoryUse]",
    ) -> None:
        """Register the functions that give the gauges' values at each scrape.

        Args:
            waiting: requests that wait.
            running: samples in the batch.
            bots_loaded: models in memory.
            memory_use: numbers and bytes of base models and adapters in memory.
        """
        gauges = {
            "mynah_queue_waiting": ("Requests waiting in the queue.", waiting),
            "mynah_running": ("Samples in the batch.", running),
            "mynah_bots_loaded": ("Models in memory.", bots_loaded),
            "mynah_models_bytes": ("Memory held by models in bytes.", lambda: memory_use().total),
            "mynah_bases_loaded": ("Base models in memory; a full model is one.", lambda: memory_use().bases),
            "mynah_bases_bytes": ("Memory held by base models in bytes.", lambda: memory_use().bases_bytes),
            "mynah_adapters_loaded": ("Adapters in memory.", lambda: memory_use().adapters),
            "mynah_adapters_bytes": ("Memory held by adapters in bytes.", lambda: memory_use().adapters_bytes),
        }
        for name, (help_text, value) in gauges.items():
            Gauge(name, help_text, registry=self.registry).set_function(value)

    def label(self, bot: str) -> str:
        """Return the label of a bot's name: the name, "other", "unknown", or "" for no name."""
        label = self._bots.get(bot)
        if label is not None:
            return label
        if not bot:
            return ""
        if not self._known(bot):
            return UNKNOWN
        return self._bot_label(bot)

    def _bot_label(self, bot: str) -> str:
        """Return the label of an existing bot: its name, or "other" past the first MAX_BOTS."""
        with self._lock:
            if len(self._bots) >= MAX_BOTS:
                return self._bots.get(bot, OTHER)
            return self._bots.setdefault(bot, bot)

    def request(self, bot: str, protocol: str, status: int, seconds: float) -> None:
        """Count a finished request and its duration.

        Args:
            bot: the bot's name, or "".
            protocol: one of PROTOCOLS.
            status: the HTTP status.
            seconds: the duration of the request.
        """
        label = self.label(bot)
        self._requests.labels(label, protocol if protocol in PROTOCOLS else "other", str(status)).inc()
        self._seconds.labels(label).observe(seconds)

    def rejected(self, reason: str) -> None:
        """Count a rejected request by its reason, never a client's text."""
        self._rejected.labels(reason).inc()

    def first_token(self, bot: str, seconds: float) -> None:
        """Record the seconds from a request's arrival to its first token."""
        self._first.labels(self.label(bot)).observe(seconds)

    def tokens(self, bot: str, count: int) -> None:
        """Count the tokens that a request generated."""
        self._tokens.labels(self.label(bot)).inc(max(0, count))

    def step(self, labels: Collection[str], batch: int, seconds: float) -> None:
        """Record one decoding step of the engine, in which `batch` samples of these bots got a token each."""
        for label in {self._bot_label(label) for label in labels}:
            self._step.labels(label).observe(seconds)
        self._batch.observe(batch)

    def prefill(self, tokens: Mapping[str, int]) -> None:
        """Record that the engine processed prompts of so many tokens, by bot."""
        for label, count in tokens.items():
            self._prefilled.labels(self._bot_label(label)).inc(count)

    def loaded(self, name: str, seconds: float) -> None:
        """Record that the repository loaded a model."""
        self._loads.labels(self._bot_label(name)).inc()
        self._load_seconds.observe(seconds)

    def evicted(self, name: str) -> None:
        """Record that the repository evicted a model."""
        self._evictions.labels(self._bot_label(name)).inc()

    def swapped(self, name: str) -> None:
        """Record that another version replaced a model."""
        self._swaps.labels(self._bot_label(name)).inc()

    async def route(self, request: Request) -> Response:
        """Answer GET /metrics in the format that the scraper prefers; for `app.add_route("/metrics", metrics.route)`.

        It runs in a thread: with 100 bots it takes 50 ms, during which the event loop streams answers.
        """
        encode, kind = choose_encoder(request.headers.get("accept", ""))
        return Response(
            await asyncio.to_thread(encode, self.registry), headers={"content-type": kind, "cache-control": "no-store"}
        )

    def listen(self, host: str, port: int) -> Callable[[], None]:
        """Serve metrics on a separate port too, in threads. Return the function that stops it; raise OSError when the port is taken."""
        server, thread = start_http_server(port, host, self.registry)

        def stop() -> None:
            server.shutdown()
            server.server_close()
            thread.join(5)

        return stop

    def forgotten(self, name: str) -> None:
        """Remove all series of a bot that no longer exists."""
        with self._lock:
            if self._bots.pop(name, None) is None:
                return
        for metric in self._by_bot:
            metric.remove_by_labels({"bot": name})
