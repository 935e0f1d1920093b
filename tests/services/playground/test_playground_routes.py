"""What the server sends for the playground: the page, the list of bots, and what a key may see."""

import asyncio
import re

import httpx
import pytest
from fastapi import FastAPI
from playground_server import BIG_AVIARY, Aviary

from serving.auth.middleware import Caller
from serving.engine.errors import ModelNotFound
from serving.playground import create_page
from serving.protocols.errors import register_error_handlers


def test_the_root_is_a_page_for_browsers_and_health_for_the_others(shop):
    with httpx.Client(base_url=shop[0]) as client:
        for accept in ("*/*", "application/json", ""):
            assert client.get("/", headers={"Accept": accept}).json() == {"status": "alive"}
        page = client.get("/", headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert page.headers["vary"] == "Accept"
        assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", page.text)  # nothing inline
        parts = re.findall(r'(?:href|src)="(page/[^"]+)"', page.text)
        assert len(set(parts)) >= 3
        for part in {*parts, "page/bots.json", "page/bots/wren/card", "page/bots/wren/picture"}:
            answer = client.get(f"/{part}")
            assert answer.status_code == 200, part
            assert "default-src 'none'" in answer.headers["content-security-policy"]
            assert "unsafe" not in answer.headers["content-security-policy"]
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["referrer-policy"] == "no-referrer"
            again = client.get(f"/{part}", headers={"If-None-Match": answer.headers["etag"]})
            assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", answer.headers["etag"])
            assert client.get(f"/{part}", headers={"If-None-Match": '"other"'}).status_code == 200


@pytest.mark.parametrize(
    "path",
    ["page/..%2fpage.py", "page/%2e%2e/page.py", "page/app.jsx", "page/index.html", "page/bots/nobody/card", "page/bots/bare/card",
     "page/bots/bare/picture", "page/bots/gone/card", "page/bots/gone/picture", "page/bots/..%2f..%2f/card"],
)  # fmt: skip
def test_what_is_not_there_is_refused_without_paths(shop, path):
    answer = httpx.get(f"{shop[0]}/{path}")
    assert answer.status_code == 404
    assert "/tmp" not in answer.text
    assert "import" not in answer.text


def test_thousands_of_bots_are_a_short_list(aviary):
    answer = httpx.get(f"{aviary[0]}/page/bots.json")
    found = answer.json()
    assert len(found) == BIG_AVIARY + 4
    assert {"name": "wren", "champion": "1", "challenger": "2", "previous": "", "ready": True} in found
    assert int(answer.headers["content-length"]) < 40_000
    assert "Authorization" in answer.headers["vary"]
    assert httpx.get(f"{aviary[0]}/page/bots.json", headers={"Accept-Encoding": "identity"}).json() == found


def test_a_key_shows_only_its_own_bots(bots):
    caller = Caller("lab", ("bare", "gone", "wren"))
    app = FastAPI()

    @app.middleware("http")
    async def door(request, call):
        request.state.caller = caller
        return await call(request)

    app.include_router(create_page(Aviary(bots)))
    register_error_handlers(app)

    async def get(path):
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            return await client.get(path)

    assert [bot["name"] for bot in asyncio.run(get("/page/bots.json")).json()] == ["bare", "gone", "wren"]
    hidden = asyncio.run(get("/page/bots/sly/card"))
    assert hidden.status_code == 404
    assert "known: bare, gone, wren" in hidden.json()["error"]


def test_a_bot_that_goes_while_the_list_is_made_is_left_out(bots):
    class Moving(Aviary):
        def describe(self, name):
            if name == "bare":
                raise ModelNotFound(name, ())
            return super().describe(name)

    app = FastAPI()
    app.include_router(create_page(Moving(bots)))

    async def get():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            return (await client.get("/page/bots.json")).json()

    assert [bot["name"] for bot in asyncio.run(get())] == ["gone", "sly", "wren"]
