"""Log lines of requests: one each, without prompts, keys or control characters."""

import io
import logging
import re
import socket
from urllib.parse import urlsplit

import httpx
import pytest

from mynah.core.errors import PlatformError
from serving.auth.api_keys import Limits, new_key
from serving.auth.key_file import Keys, add_key
from serving.observability.logs import Log
from tests.services.observability.telemetry import PROMPT, Terminal, lines, scrape
from tests.services.small_server import small_server


def test_a_request_is_one_line_without_its_prompt(server, written):
    answer = server.ask(prompt=PROMPT, tokens=7)
    (line,) = lines(written)
    assert line.pop("seconds") > 0
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", line.pop("time"))
    assert line == {
        "level": "info", "message": "request", "id": answer.headers["x-request-id"], "protocol": "v2", "method": "POST",
        "path": "/v2/models/wren/infer", "status": 200, "bot": "wren", "version": "3", "tokens": 7, "tenant": "anonymous",
    }  # fmt: skip
    assert PROMPT not in written.getvalue()


def test_a_line_says_whose_key_it_was_and_never_the_key(tmp_path, metrics, log, written):
    key, presented = new_key("alice", ["wren"], False, Limits(), "")
    add_key(tmp_path / "keys.json", key)
    with small_server(Keys(tmp_path / "keys.json"), metrics, log) as server:
        server.ask(key=presented)
        server.ask(key=presented + "x")
    right, wrong = lines(written, 2)
    assert (right["tenant"], right["key"], right["status"]) == ("alice", key.id, 200)
    assert (wrong["status"], wrong["rejected"]) == (401, "key")
    assert "tenant" not in wrong
    assert presented.split("_", 2)[2] not in written.getvalue()


def test_prompts_are_logged_for_who_asks_for_them(metrics, written):
    log = Log(written, prompts=True)
    try:
        with small_server(metrics=metrics, log=log) as server:
            server.ask(prompt=f"{PROMPT}\n\x1b[31m")
    finally:
        log.close()
    assert lines(written)[0]["prompts"] == [f"{PROMPT}\n\x1b[31m"]
    assert "\x1b" not in written.getvalue()


def test_probes_and_scrapes_are_not_logged(server, written, metrics):
    named = [
        f"{path}{name}{end}"
        for name in ("wren", "wren:3", "wren@previous")
        for path, end in (("/v1/models/", ""), ("/v2/models/", "/ready"))
    ]
    for path in ("/", "/v2/health/live", "/v2/health/ready", *named, "/metrics"):
        assert server.get(path).status_code == 200
    server.get("/v2/models")
    assert [line["path"] for line in lines(written)] == ["/v2/models"]
    counted = [name for name in scrape(server) if name[0] == "mynah_requests_total"]
    assert counted == [("mynah_requests_total", ("bot", ""), ("protocol", "v2"), ("status", "200"))]


@pytest.mark.parametrize("given", ["abc-123", "01ARZ3NDEKTSV4RRFFQ69G5FAV", "a" * 64])
def test_a_request_id_is_taken_over(server, given, written):
    assert server.ask(headers={"X-Request-Id": given}).headers["x-request-id"] == given
    assert lines(written)[0]["id"] == given


HOSTILE = [
    b"a b",
    b"\x1b[31mred",
    b"a" * 10_000,
    b"",
    b"\xff\xfe",
    b'"},{"level":"fatal"',
    b"a\tb",
    "\u202eabc".encode(),
    b"a" * 65,
]


@pytest.mark.parametrize("given", HOSTILE)
def test_a_hostile_request_id_is_replaced(server, given, written):
    place = urlsplit(server.url)
    with socket.create_connection((place.hostname, place.port), timeout=30) as connection:
        head = b"GET /v2/models HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-Request-Id: " + given + b"\r\n\r\n"
        connection.sendall(head)
        answer = connection.makefile("rb").read()
    if b" 400 " in answer.splitlines()[0]:  # the parser would not have it: no request, no line
        assert written.getvalue() == "" or "Invalid HTTP request" in written.getvalue()
        return
    assert re.search(rb"x-request-id: [0-9a-f]{32}\r\n", answer)
    assert re.fullmatch("[0-9a-f]{32}", lines(written)[0]["id"])


@pytest.mark.parametrize("hostile", ["\n", "\r\n", "\x1b[2J", "\x00", "\u202e", "\u2028", "\x9b31m", "\ud800"])
@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_no_control_character_reaches_the_log(hostile, stream):
    written = stream()
    log = Log(written, prompts=True)
    try:
        log.request(
            {"id": "1", "path": f"/v2/{hostile}x", "bot": f"w{hostile}", "tenant": hostile, "prompts": [hostile], "status": 200}
        )
        logging.getLogger("uvicorn.error").error("odd %s", hostile)
    finally:
        log.close()
    text = written.getvalue()
    assert len(text.splitlines()) == text.count("\n") == 2
    assert hostile.strip("\n") == "" or hostile not in text
    text.encode("ascii" if stream is io.StringIO else "utf-8")


def test_a_path_in_the_log_is_short_and_without_its_query(server, written):
    server.get(f"/{'a' * 5000}?key=secret")
    assert lines(written)[0]["path"] == f"/{'a' * 199}"
    assert "secret" not in written.getvalue()


def test_on_a_terminal_a_request_is_a_few_words(metrics):
    written = Terminal()
    log = Log(written)
    try:
        with small_server(metrics=metrics, log=log) as server:
            answer = server.ask(prompt=PROMPT, tokens=7)
    finally:
        log.close()
    found = re.fullmatch(
        r"\d\d:\d\d:\d\d 200 POST /v2/models/wren/infer wren 7 tokens [\d.]+ s anonymous (\w+)\n", written.getvalue()
    )
    assert found, written.getvalue()
    assert found[1] == answer.headers["x-request-id"]


def test_a_crash_is_told_with_its_place_and_without_what_was_asked(server, written):
    assert server.ask(prompt=PROMPT, fail=True).status_code == 500
    found = lines(written, 2)
    request = next(line for line in found if line["message"] == "request")
    crash = next(line for line in found if line.get("logger") == "uvicorn.error")
    assert (request["status"], request["level"]) == (500, "error")
    assert "ValueError" in crash["error"]
    assert "small_server.py" in crash["error"]
    assert PROMPT not in written.getvalue()


def test_an_exception_about_the_machine_keeps_its_words(written, log):
    try:
        try:
            raise OSError("no space left on device")
        except OSError as error:
            raise PlatformError("the disk is full", "Free some.") from error
    except PlatformError:
        logging.getLogger("mynah.engine").exception("loading failed")
    (line,) = lines(written)
    assert "the disk is full" in line["error"]
    assert "no space left on device" in line["error"]


def test_a_stream_that_breaks_is_logged_as_cut(server, written, metrics):
    with pytest.raises(httpx.RemoteProtocolError):
        server.ask(stream=2, **{"break": True})
    line = next(line for line in lines(written, 2) if line["message"] == "request")
    assert (line["status"], line["cut"]) == (200, True)
    assert line["first_token"] > 0
