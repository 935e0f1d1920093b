"""Requests that run at the same time: queue, deadlines and clients that leave; and what an error or the log shows of one."""

from concurrent.futures import ThreadPoolExecutor, as_completed

import httpx
import pytest

from tests.services.serving_process import HELD_SEED
from tests.services.serving_requests import V1, V2, assert_refused, v2_body


def test_health_answers_while_a_text_is_generated(server, client):
    with server.held_request(n=3) as (release, answers):
        assert client.get("/v2/health/live").status_code == 200
        assert client.get("/v2/models/heron/ready").status_code == 200
        assert not answers, "health was answered only after the generation"
        release()
    assert answers[0].json()["outputs"][0]["shape"] == [3]


def test_a_full_queue_is_refused_with_the_wait(start):
    def ask(number):
        return httpx.post(server.url + V2, json=v2_body("I", seed=number, max_tokens=2, n=64), timeout=120)

    with start(most_waiting=4) as server, ThreadPoolExecutor(12) as pool:
        with server.held_request() as (release, answers):
            asked = as_completed(pool.submit(ask, number) for number in range(12))
            refused = [next(asked).result() for _ in range(8)]  # the first has slots for all its samples but one, and waits too
            release()
        served = [done.result() for done in asked]
        for answer in refused:
            assert_refused(answer, 503, "waiting")
            assert int(answer.headers["Retry-After"]) > 0
        assert [answer.status_code for answer in (*served, *answers)] == [200] * 5
        assert ask(1).status_code == 200


def test_side_by_side_requests_keep_their_seeds(server):
    def ask(_):
        return httpx.post(server.url + V2, json=v2_body("I like", n=4, seed=9), timeout=60).json()["outputs"][0]["data"]

    with ThreadPoolExecutor(6) as pool:
        assert len({tuple(texts) for texts in pool.map(ask, range(12))}) == 1


@pytest.mark.parametrize("where", ["add", "step"])
def test_an_unexpected_error_shows_nothing_and_is_logged(start, where):
    broken = f"""
import serving.protocols.kserve_models
def from_v1(_): raise RuntimeError('the secret is in /etc/shadow')
serving.protocols.kserve_models.from_v1 = from_v1
from mynah.decoding.running_batch import RunningBatch
def broken(*_): raise RuntimeError('the engine is broken in /etc/shadow')
RunningBatch.{where} = broken
"""
    with start(broken) as server:
        for path, body in ((V1, {"instances": ["my own prompt"]}), (V2, v2_body("my own prompt"))):
            answer = httpx.post(server.url + path, json=body)
            assert (answer.status_code, answer.json()) == (500, {"error": "internal error"})
        assert httpx.get(server.url + "/v2/health/live").status_code == 200
        assert server.stop() == "returned\n"
    assert "the secret is in /etc/shadow" in server.log
    assert "the engine is broken" in server.log
    assert "my own prompt" not in server.log


def test_the_log_holds_no_prompt(server, client):
    client.post(V2, json=v2_body("I like tea"))
    client.post(V2, json=v2_body("I like tea", zzz=1))
    assert '"kernels: ' in server.lines[0]
    assert server.lines[1].startswith("Serving crane (version 1), heron (version 1), wren (version 3) on http://127.0.0.1:")
    assert "tea" not in server.log


HELD = {"seed": HELD_SEED, "min_tokens": 20, "max_tokens": 40, "n": 5}
HELD_REQUESTS = [
    (V1, {"instances": ["I"], "parameters": HELD}),
    (V2, v2_body("I", **HELD)),
    ("/openai/v1/completions", {"model": "wren", "prompt": "I", **HELD}),
]


def test_who_leaves_is_no_longer_worked_for(start):
    with start() as server:
        for path, body in HELD_REQUESTS:
            with pytest.raises(httpx.ReadTimeout):  # held, for as long as somebody waits
                httpx.post(server.url + path, json=body, timeout=1)
            server.wait_until_idle()
        assert (server.holding / "started").exists()
        assert server.stop() == "returned\n"
    assert server.log.count('"status": 499') == len(HELD_REQUESTS)
    assert "Traceback" not in server.log


def test_a_deadline_ends_an_answer(start):
    with start() as server:
        for path, body in HELD_REQUESTS:
            answer = httpx.post(server.url + path, json=body, headers={"X-Request-Timeout": "0.3"})
            assert answer.status_code == 504
            assert "0.3 seconds" in answer.text
            server.wait_until_idle()


@pytest.mark.parametrize("seconds", ["x", "0", "-1", "nan", ""])
def test_deadlines_that_are_none(client, seconds):
    assert_refused(client.post(V1, json={"instances": ["I"]}, headers={"X-Request-Timeout": seconds}), 400, "X-Request-Timeout")
