"""API keys and the waits of a limit, as the tests use them."""

import time


def identity_of(key):
    return key.split("_")[1]


def after(answer):
    """Wait as long as a 429 says."""
    assert answer.status_code == 429, answer.text
    seconds = int(answer.headers["Retry-After"])
    assert f"{seconds} s" in answer.json()["error"]
    time.sleep(seconds)
