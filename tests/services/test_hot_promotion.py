"""Promotion and rollback under load, from outside: a server of the registry, readers who never stop asking, `mynah promote`."""

import json
import os
import re
import subprocess
import threading
import time
from contextlib import contextmanager

import httpx
import pytest
from registry_inputs import add_version, command, make_outputs, register_all


@contextmanager
def aviary(workdir):
    """`mynah serve` of every champion in the registry; its address."""
    arguments = command("serve", "--workdir", workdir, "--port", "0", "--poll", "0.5")
    process = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    try:
        line = next(line for line in process.stderr if line.startswith("Serving "))
        drain = threading.Thread(target=process.stderr.read)
        drain.start()
        yield re.search(r"http://\S+", line)[0]
    finally:
        process.terminate()
        process.wait(60)
        drain.join()
        process.stderr.close()


class Readers:
    """Threads that ask until they are told to stop: whole answers and streams in turn."""

    def __init__(self, url, count=6):
        self.url, self.versions, self.failures, self.over = url, [], [], threading.Event()
        self.threads = [threading.Thread(target=self.read, args=(number,)) for number in range(count)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join(60)

    def read(self, number):
        with httpx.Client(base_url=self.url, timeout=60) as client:
            seed = number
            while not self.over.is_set():
                seed += len(self.threads)
                body = {
                    "model": "wren",
                    "prompt": "I like",
                    "max_tokens": 40,
                    "min_tokens": 40,
                    "seed": seed,
                    "stream": seed % 2 == 0,
                }
                answer = client.post("/openai/v1/completions", json=body)
                self.versions.append(answer.headers.get("X-Mynah-Version"))
                if not whole(answer, body["stream"]):
                    self.failures.append((answer.status_code, answer.text[-300:]))

    def wait_for(self, version):
        """Return when an answer came from `version`; the seconds it took to be so."""
        began = time.monotonic()
        while version not in self.versions[-6:]:
            assert time.monotonic() < began + 30, self.versions[-10:]
            time.sleep(0.05)


def whole(answer, stream):
    if answer.status_code != 200:
        return False
    if not stream:
        return answer.json()["choices"][0]["finish_reason"] == "length"
    lines = [line for line in answer.text.split("\n\n") if line]
    reasons = [json.loads(line.removeprefix("data: "))["choices"][0]["finish_reason"] for line in lines[:-1]]
    return lines[-1] == "data: [DONE]" and reasons[-1] == "length"


def test_no_request_fails_while_versions_are_promoted_and_rolled_back(tmp_path, long_checkpoint, mynah):
    workdir = tmp_path / "work"
    register_all({"wren": make_outputs(tmp_path / "wren", long_checkpoint)}, workdir)
    with aviary(workdir) as url, Readers(url) as readers:
        readers.wait_for("wren:1")
        add_version(workdir, 3.9)
        assert mynah("promote", "wren", "--workdir", workdir).returncode == 0
        readers.wait_for("wren:2")
        assert mynah("rollback", "wren", "--workdir", workdir).returncode == 0
        readers.wait_for("wren:1")
    assert readers.failures == []
    assert set(readers.versions) == {"wren:1", "wren:2"}


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", ""])
def test_a_page_that_points_its_own_name_here_is_not_answered(server, host):
    """DNS rebinding: a server that is open because only this machine reaches it answers to this machine's names alone."""
    answer = httpx.get(f"{server.url}/v2/models", headers={"Host": host})
    assert (answer.status_code, "Host" in answer.text) == (403, True)
    for known in ("localhost", "127.0.0.1:1", "[::1]:99", "LOCALHOST:8080"):
        assert httpx.get(f"{server.url}/v2/models", headers={"Host": known}).status_code == 200
