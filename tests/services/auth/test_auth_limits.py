"""Requests, tokens and requests at once that a key and a tenant may use."""

import threading
import time

import httpx
import pytest

from serving.auth.key_file import Keys
from serving.auth.middleware import AuthMiddleware
from serving.errors import ApiError
from tests.services.auth.auth_keys import after, identity_of


def test_too_many_requests_are_told_when_to_come_again(add, serve):
    key, other = add("--bot", "wren", "--requests-per-minute", "30"), add("--bot", "wren")
    with serve() as server:
        answers = [server.ask(key=key) for _ in range(33)]
        assert [answer.status_code for answer in answers[:30]] == [200] * 30
        refused = answers[-1]
        assert "30 requests per minute" in refused.json()["error"]
        assert server.ask(key=other).status_code == 200
        assert server.get("/v2/health/live").status_code == 200
        after(refused)
        assert server.ask(key=key).status_code == 200


def test_tokens_are_charged_when_they_were_written(add, serve):
    key = add("--bot", "wren", "--tokens-per-minute", "600")
    with serve() as server:
        assert server.ask(key=key, tokens=590).status_code == 200
        assert server.ask(key=key, tokens=25).status_code == 200  # 10 were left: nobody knows before how long an answer gets
        refused = server.ask(key=key)
        assert "600 tokens per minute" in refused.json()["error"]
        after(refused)
        assert server.ask(key=key).status_code == 200


def test_requests_at_the_same_time_are_counted_and_given_back(add, serve):
    key = add("--bot", "wren", "--concurrent", "2")
    with serve() as server:
        running = [threading.Thread(target=server.ask, kwargs={"key": key, "hold": True}) for _ in range(2)]
        for thread in running:
            thread.start()
            assert server.held.inside.acquire(timeout=30)
        refused = server.ask(key=key)
        assert refused.status_code == 429
        assert int(refused.headers["Retry-After"]) >= 1
        server.held.release.set()
        for thread in running:
            thread.join(30)
        assert server.ask(key=key).status_code == 200
        assert server.ask(key=key, name="heron").status_code == 403  # a refusal gives its place back too
        assert [server.ask(key=key, fail=True, prompt="x").status_code for _ in range(3)] == [500] * 3
        assert server.ask(key=key, stream=2).status_code == 200
        assert server.ask(key=key).status_code == 200


def test_who_leaves_in_the_middle_gives_the_place_back(add, serve):
    key = add("--bot", "wren", "--concurrent", "1")
    with serve() as server:
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(
                f"{server.url}/v2/models/wren/infer",
                json={"hold": True},
                headers={"X-API-Key": key},
                timeout=httpx.Timeout(10, read=0.5),
            )
        server.held.release.set()
        deadline = time.monotonic() + 30
        while server.ask(key=key).status_code == 429:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_a_tenants_keys_share_what_the_tenant_may(add, serve, mynah, key_file):
    one, two, other = add("--bot", "wren"), add("--bot", "wren"), add("--bot", "wren", tenant="bob")
    assert mynah("keys", "limit", "alice", "--requests-per-minute", "4", "--file", key_file).returncode == 0
    with serve() as server:
        assert [server.ask(key=key).status_code for key in (one, two, one, two, one, two)] == [200] * 4 + [429] * 2
        assert server.ask(key=other).status_code == 200


def test_limits_change_with_the_file_and_accounts_go_with_their_keys(add, key_file, mynah):
    key = add("--bot", "wren", "--requests-per-minute", "2")
    doors = AuthMiddleware(None, Keys(key_file))

    def passes(presented):
        caller = doors.authenticate({"x-api-key": presented})
        try:
            with doors.limit(caller):
                return True
        except ApiError as refusal:
            assert refusal.status == 429
            return False

    assert [passes(key) for _ in range(3)] == [True, True, False]
    key_file.write_text(key_file.read_text().replace('"requests_per_minute": 2', '"requests_per_minute": 5'))
    assert [passes(key) for _ in range(6)] == [True] * 5 + [False]
    for _ in range(20):
        mynah("keys", "revoke", identity_of(key), "--file", key_file)
        key = add("--bot", "wren", "--requests-per-minute", "2")
        assert passes(key)
    assert len(doors._limiter) == 1  # a server that runs for years holds what the file holds
