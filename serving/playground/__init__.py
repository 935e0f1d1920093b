"""The playground at `/`: a page to read about the bots and ask them, and what it needs to know of them.

The page is plain files that this server sends itself. Its policy (CSP) lets no script, style or picture in from anywhere else, and
no inline script at all, so that what a bot, a card or a stranger's link says can't run.
"""

import asyncio
import gzip
import hashlib
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from serving.refusals import Refusal, nearest, unknown_bot

if TYPE_CHECKING:
    from serving.repository import BotFiles, Repository

FOLDER = Path(__file__).parent / "page"
TYPES = {".html": "text/html; charset=utf-8", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
LISTED_FOR = 1.0  # seconds; asking thousands of bots for their versions takes milliseconds, and the event loop streams answers
LARGEST_CARD = 128 * 1024  # bytes; a card has about 6,000
LARGEST_PICTURE = 4 * 1024 * 1024  # bytes; ours have about 40,000
WIDEST_PICTURE = 4096  # pixels a side; a small file can hold a picture that fills a browser's memory
PNG = b"\x89PNG\r\n\x1a\n"

POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",  # innerHTML and its kin throw
    ]
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",  # keep it, and ask by ETag whether it is still the same
}
# Who may see which bots depends on the key, so a cache must not hand one caller's list to another.
OF_THE_CALLER = {"Cache-Control": "private, no-cache", "Vary": "Accept-Encoding, Authorization, X-API-Key"}


def create_page(bots: "Repository") -> APIRouter:
    """The routes of the playground: `/`, its files, the list of bots, and a bot's card and picture."""
    router = APIRouter(include_in_schema=False)
    files = {path.name: path.read_bytes() for path in sorted(FOLDER.iterdir()) if path.suffix in TYPES}
    index = files.pop("index.html")
    listed = _for_a_while(lambda: _list(bots))

    @router.get("/")
    async def page(request: Request) -> Response:
        if "text/html" not in request.headers.get("accept", ""):  # a v1 client that asks whether the server lives
            return JSONResponse({"status": "alive"}, headers={"Vary": "Accept"})
        return _cached(request, index, TYPES[".html"], {"Vary": "Accept"})

    @router.get("/page/bots.json")
    async def list_bots(request: Request) -> Response:
        visible = [bot for bot in listed() if _may(request, bot["name"])]
        body, headers = json.dumps(visible, separators=(",", ":")).encode(), dict(OF_THE_CALLER)
        if "gzip" in request.headers.get("accept-encoding", "") and len(body) > 1000:
            body, headers["Content-Encoding"] = gzip.compress(body, 6, mtime=0), "gzip"
        return _cached(request, body, "application/json", headers)

    @router.get("/page/bots/{name}/card")
    async def card(request: Request, name: str) -> Response:
        text = await _read((await _files(bots, request, name)).card, LARGEST_CARD, f"there is no card of {name} here yet")
        return _cached(request, text, "text/markdown; charset=utf-8", OF_THE_CALLER)

    @router.get("/page/bots/{name}/picture")
    async def picture(request: Request, name: str) -> Response:
        image = await _read(
            (await _files(bots, request, name)).picture, LARGEST_PICTURE, f"there is no picture of {name} here yet"
        )
        width, height = (int.from_bytes(image[start : start + 4]) for start in (16, 20))  # the PNG's header (RFC 2083)
        if not image.startswith(PNG) or max(width, height) > WIDEST_PICTURE:
            raise Refusal(404, f"the picture of {name} is no PNG of at most {WIDEST_PICTURE} pixels a side")
        return _cached(request, image, "image/png", OF_THE_CALLER)

    @router.get("/page/{file}")
    async def part(request: Request, file: str) -> Response:
        if file not in files:
            raise Refusal(404, f"the page has no file {file[:80]!r}; {nearest(file, files)}")
        return _cached(request, files[file], TYPES[Path(file).suffix])

    return router


def _cached(request: Request, body: bytes, kind: str, headers: Mapping[str, str] = {}) -> Response:
    """`body` with an ETag of its content; 304 without it where the caller has it already."""
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    whole = {**HEADERS, **headers, "ETag": tag, "Content-Type": kind}
    known = [word.strip().removeprefix("W/") for word in request.headers.get("if-none-match", "").split(",")]
    if tag in known:
        return Response(status_code=304, headers={key: value for key, value in whole.items() if key != "Content-Encoding"})
    return Response(body, headers=whole)


def _list(bots: "Repository") -> list[dict[str, Any]]:
    found = []
    for name in bots.names():
        try:
            bot = bots.describe(name)
        except Refusal:  # it was forgotten since its name was read
            continue
        versions = {"champion": bot.champion, "challenger": bot.challenger, "previous": bot.previous}
        found.append({"name": name, **versions, "ready": bots.ready(name)})
    return found


def _for_a_while(make: Callable[[], list[dict[str, Any]]]) -> Callable[[], list[dict[str, Any]]]:
    """`make`, called again when what it made is older than LISTED_FOR."""
    made: list[dict[str, Any]] = []
    until = 0.0

    def get() -> list[dict[str, Any]]:
        nonlocal made, until
        if time.monotonic() >= until:
            made, until = make(), time.monotonic() + LISTED_FOR
        return made

    return get


def _may(request: Request, name: str) -> bool:
    """Whether the caller's key is good for the bot; without keys everybody may."""
    caller = getattr(request.state, "caller", None)
    return caller is None or bool(caller.may(name))


async def _files(bots: "Repository", request: Request, name: str) -> "BotFiles":
    names = [known for known in bots.names() if _may(request, known)]
    if name not in names:  # one answer for what isn't there and what isn't the caller's: names of others' bots stay theirs
        raise unknown_bot(name, names)
    return await bots.files(name)


async def _read(path: Path | None, most: int, missing: str) -> bytes:
    def read() -> bytes:
        if path is None:
            raise Refusal(404, missing)
        try:
            with path.open("rb") as file:
                return file.read(most)  # the rest of a card that is longer is left out; a cut picture shows what it has
        except OSError as error:
            raise Refusal(404, missing) from error

    return await asyncio.to_thread(read)
