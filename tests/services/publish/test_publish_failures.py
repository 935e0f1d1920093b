"""`mynah publish` where the hub or the network fails half-way."""

import hashlib
import json
import subprocess
import sys
import time

import pytest
from publish_inputs import refused, version

from mynah.registry.published_copies import PUBLISHED


def is_untouched(hub):
    """Whether nothing of the bot reached the hub: no repository with files, and no upload."""
    return all(repo.files.keys() == {".gitattributes"} for repo in hub.repositories.values())


BUSY = [(429, {"Retry-After": "0"}), (503, {}), (429, {"RateLimit": '"api";r=0;t=0'})]


@pytest.mark.parametrize(
    "asked",
    [
        [("GET", "/api/models"), ("POST", "/api/repos/create"), ("POST", "/preupload")],
        [("POST", "/objects/batch"), ("PUT", "/storage"), ("POST", "/commit/")],
        [("POST", "/verify"), ("GET", "/whoami"), ("POST", "/validate-yaml")],
    ],
)
def test_a_hub_that_is_busy_or_broken_for_a_while(publish, hub, asked):
    hub.failing = [(*each, 1, *how) for each, how in zip(asked, BUSY, strict=True)]
    done = publish()
    assert (done.returncode, len(hub.repositories["ann/wren"].commits)) == (0, 2), done
    assert [times for _, _, times, _, _ in hub.failing] == [0, 0, 0]


@pytest.mark.parametrize(
    ("method", "part", "status", "headers", "words"),
    [
        ("POST", "/api/repos/create", 500, {}, "failed (500)"),
        ("POST", "/objects/batch", 429, {"Retry-After": "3600"}, "lets no more requests through (429)"),
        ("PUT", "/storage", 502, {}, "failed (502)"),
        ("POST", "/commit/", 500, {}, "failed (500)"),
        ("POST", "/commit/", 418, {}, "failed (418"),
    ],
)
def test_a_hub_that_stays_broken(publish, hub, method, part, status, headers, words):
    hub.failing = [(method, part, 99, status, headers)]
    refused(publish(), 3, words)
    assert is_untouched(hub)


def test_what_the_hub_says_is_told(publish, hub):
    for status, words in ((402, "Your storage is full"), (404, "no such organization"), (400, "bad")):
        hub.failing = [("POST", "/api/repos/create", 9, status, {"X-Error-Message": words})]
        refused(publish(), 2, f"({status}: {words})")


def test_a_connection_that_breaks_off_in_the_middle_of_an_upload(publish, hub):
    hub.dropped = 99
    refused(publish(), 3, "broke off")
    assert (is_untouched(hub), hub.objects, len(hub.uploads()) > 1) == (True, {}, True)
    hub.dropped = 1
    assert publish().returncode == 0


def test_answers_that_are_cut_off(publish, hub):
    for method, part in (("GET", "/api/models"), ("POST", "/preupload")):
        hub.cut = [(method, part)]
        refused(publish(), 3, "broke off")
    hub.cut = [("POST", "/commit/")]  # it was made, and is found made
    assert publish().returncode == 0
    assert [title for _, title, _ in hub.repositories["ann/wren"].commits] == [
        "wren version 1, published by Mynah",
        "initial commit",
    ]


def test_a_server_that_is_no_hub(publish, hub):
    hub.failing = [("GET", "/api/models", 9, 200, {"Content-Type": "text/html"})]
    refused(publish(), 3, "answers as no hub does", "HF_ENDPOINT")


def test_nobody_there(publish, hub):
    hub.stop()
    refused(publish(), 3, f"{hub.url} does not answer (ConnectError)")


def test_a_card_that_the_hub_does_not_take(publish, hub, workdir):
    [card] = [
        path
        for path in (workdir / "mlartifacts").rglob("README.md")
        if "mlflow.internal" in path.read_text() and path.parent.name == "model"
    ]
    data = card.read_text().replace("license: other", "license: nonsense")
    manifest = card.parents[1] / "manifest.json"
    record = json.loads(manifest.read_text())
    card.write_text(data)
    record["files"]["model/README.md"] = {"size": len(data.encode()), "sha256": hashlib.sha256(data.encode()).hexdigest()}
    manifest.write_text(json.dumps(record))
    refused(publish(), 2, "front matter", "must be one of")
    assert is_untouched(hub)


def test_large_files_go_up_in_parts(publish, hub, workdir):
    hub.chunk_size = 10_000
    assert publish().returncode == 0
    assert len(hub.uploads()) > 3
    assert hub.repositories["ann/wren"].files["model.safetensors"] in hub.objects.values()


def test_killed_before_it_was_noted_and_run_again(mynah, publish, hub, workdir):
    def kill(method, path):
        if "/commit/" in path:
            process.kill()

    hub.before = kill
    process = subprocess.Popen([sys.executable, "-m", "pipelines", "publish", "wren", "--to", "hub:ann/wren", "--workdir", str(workdir)],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip
    process.communicate(timeout=60)
    hub.before = None
    while len(hub.repositories["ann/wren"].commits) < 2:  # the hub makes it all the same
        time.sleep(0.01)
    assert version(workdir).tags[PUBLISHED] == f"hub:ann/wren {hub.url}"
    assert publish().returncode == 0
    assert len(hub.repositories["ann/wren"].commits) == 2
