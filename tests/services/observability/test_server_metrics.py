"""Metrics as Prometheus reads them: requests, rejections, the engine, and labels within a bound."""

import threading

import httpx

from serving.auth.api_keys import Limits, new_key
from serving.auth.key_file import Keys, add_key
from serving.models.footprint import MemoryUse
from serving.observability.metrics import MAX_BOTS, Metrics
from tests.services.observability.telemetry import scrape, scraped
from tests.services.small_server import small_server


def test_metrics_of_requests(server):
    for _ in range(3):
        server.ask(tokens=5)
    server.ask(stream=3, tokens=2)
    server.ask("nightingale")
    httpx.post(f"{server.url}/openai/v1/completions", json={"model": "heron"})
    httpx.post(f"{server.url}/v2/repository/models/wren/load")
    found = scrape(server)

    def requests(bot, protocol, status):
        return found.get(("mynah_requests_total", ("bot", bot), ("protocol", protocol), ("status", status)))

    assert requests("wren", "v2", "200") == 4
    assert requests("", "v2", "404") == 1  # a name that no bot has is no label
    assert requests("heron", "openai", "200") == 1
    assert found["mynah_tokens_total", ("bot", "wren")] == 17
    assert found["mynah_request_seconds_count", ("bot", "wren")] == 4
    assert found["mynah_first_token_seconds_count", ("bot", "wren")] == 1
    assert found["mynah_rejected_total", ("reason", "admin")] == 1
    assert found["process_resident_memory_bytes",] > 1e6


def test_metrics_of_rejections(tmp_path, metrics, log):
    key, presented = new_key("alice", ["wren"], False, Limits(requests_per_minute=1), "")
    add_key(tmp_path / "keys.json", key)
    admin, its = new_key("ops", [], True, Limits(), "")
    add_key(tmp_path / "keys.json", admin)
    with small_server(Keys(tmp_path / "keys.json"), metrics, log) as server:
        statuses = [server.ask().status_code, server.ask(key=presented).status_code, server.ask(key=presented).status_code]
        found = scrape(server, **{"X-API-Key": its})
    assert statuses == [401, 200, 429]
    assert found["mynah_rejected_total", ("reason", "key")] == 1
    assert found["mynah_rejected_total", ("reason", "requests")] == 1


def test_metrics_of_the_engine_and_the_repository(server, metrics):
    metrics.register_gauges(
        waiting=lambda: 3, running=lambda: 5, bots_loaded=lambda: 2, memory_use=lambda: MemoryUse(1, 1 << 20, 2, 5)
    )
    threads = [threading.Thread(target=lambda: [metrics.step(["wren"], 4, 0.01) for _ in range(500)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    metrics.prefill({"wren": 11})
    metrics.loaded("wren", 0.2)
    metrics.loaded("heron", 0.2)
    metrics.evicted("heron")
    metrics.swapped("wren")
    found = scrape(server)
    metrics.forgotten("heron")
    assert "heron" not in str(scrape(server))
    assert found["mynah_token_seconds_count", ("bot", "wren")] == 2000
    assert found["mynah_batch_size_sum",] == 8000
    assert found["mynah_prompt_tokens_total", ("bot", "wren")] == 11
    assert (found["mynah_loads_total", ("bot", "wren")], found["mynah_load_seconds_count",]) == (1, 2)
    assert (found["mynah_evictions_total", ("bot", "heron")], found["mynah_swaps_total", ("bot", "wren")]) == (1, 1)
    gauges = ("mynah_queue_waiting", "mynah_running", "mynah_bots_loaded", "mynah_models_bytes")
    assert [found[name,] for name in gauges] == [3, 5, 2, (1 << 20) + 5]
    gauges = ("mynah_bases_loaded", "mynah_bases_bytes", "mynah_adapters_loaded", "mynah_adapters_bytes")
    assert [found[name,] for name in gauges] == [1, 1 << 20, 2, 5]


def labels(metrics):
    from prometheus_client import generate_latest

    found = scraped(generate_latest(metrics.registry).decode())
    return {dict(key[1:])["bot"] for key in found if key[0] == "mynah_requests_total"}


def test_bots_are_labels_within_a_bound_and_strangers_never():
    metrics = Metrics(known=lambda name: name.startswith("bot-"))
    for number in range(1000):
        metrics.request(f"bot-{number}", "v2", 200, 0.1)
        metrics.request(f"made-up-{number}", "v2", 404, 0.1)
        metrics.loaded(f"bot-{number}", 0.1)
    found = labels(metrics)
    assert found == {f"bot-{number}" for number in range(MAX_BOTS)} | {"other", "unknown"}


def test_a_label_cannot_break_the_format(metrics):
    hostile = 'x"} 1\nmynah_running 99\n'
    metrics = Metrics(known=lambda _: True)
    metrics.request(hostile, hostile, 200, 0.1)
    assert labels(metrics) == {hostile}
    from prometheus_client import generate_latest

    assert ("mynah_running",) not in scraped(generate_latest(metrics.registry).decode())


def test_metrics_in_openmetrics_for_who_prefers_it(server):
    from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics

    server.ask()
    answer = server.get("/metrics", Accept="application/openmetrics-text; version=1.0.0")
    assert "mynah_requests" in {family.name for family in openmetrics(answer.text)}
