"""The playground at `/`: a page to read about the bots and query them, and the data that it needs.

The page is plain files that this server sends itself. Its content security policy allows no script, style or picture from elsewhere
and no inline script, so that text of a bot, a card or a link cannot run as code.
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

from serving.auth.middleware import caller_of
from serving.engine.errors import ModelNotFound
from serving.errors import ApiError, nearest

if TYPE_CHECKING:
    from serving.models.repository import BotFiles, Repository

FOLDER = Path(__file__).parent / "page"
TYPES = {".html": "text/html; charset=utf-8", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
LIST_SECONDS = 1.0  # describing thousands of bots takes milliseconds of the event loop, which streams answers
MAX_CARD_BYTES = 128 * 1024  # bytes; a card has about 6,000
MAX_PICTURE_BYTES = 4 * 1024 * 1024  # bytes; a generated one has about 40,000
MAX_PICTURE_PIXELS = 4096  # per side; a small file can contain a picture that fills a browser's memory
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
        "require-trusted-types-for 'script'",  # innerHTML and similar sinks throw
    ]
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",  # cached, and revalidated by ETag
}
# The visible bots depend on the key, so a shared cache must not give one caller's list to another.
PRIVATE_HEADERS = {"Cache-Control": "private, no-cache", "Vary": "Accept-Encoding, Authorization, X-API-Key"}


def create_page(bots: "Repository") -> APIRouter:
    """Create the routes of the playground: `/`, its files, the list of bots, and each bot's card and picture."""
    router = APIRouter(include_in_schema=False)
    files = {path.name: path.read_bytes() for path in sorted(FOLDER.iterdir()) if path.suffix in TYPES}
    index = files.pop("index.html")
    bot_list = _cached_for_a_second(lambda: _list_bots(bots))

    @router.get("/")
    async def page(request: Request) -> Response:
        if "text/html" not in request.headers.get("accept", ""):  # a v1 client that checks that the server is alive
            return JSONResponse({"status": "alive"}, headers={"Vary": "Accept"})
        return _respond(request, index, TYPES[".html"], {"Vary": "Accept"})

    @router.get("/page/bots.json")
    async def list_bots(request: Request) -> Response:
        accessible = [bot for bot in bot_list() if _can_access(request, bot["name"])]
        body, headers = json.dumps(accessible, separators=(",", ":")).encode(), dict(PRIVATE_HEADERS)
        if "gzip" in request.headers.get("accept-encoding", "") and len(body) > 1000:
            body, headers["Content-Encoding"] = gzip.compress(body, 6, mtime=0), "gzip"
        return _respond(request, body, "application/json", headers)

    @router.get("/page/bots/{name}/card")
    async def card(request: Request, name: str) -> Response:
        text = await _read_file((await _bot_files(bots, request, name)).card, MAX_CARD_BYTES, f"{name} has no card here yet")
        return _respond(request, text, "text/markdown; charset=utf-8", PRIVATE_HEADERS)

    @router.get("/page/bots/{name}/picture")
    async def picture(request: Request, name: str) -> Response:
        image = await _read_file(
            (await _bot_files(bots, request, name)).picture, MAX_PICTURE_BYTES, f"{name} has no picture here yet"
        )
        _require_small_png(image, name)
        return _respond(request, image, "image/png", PRIVATE_HEADERS)

    @router.get("/page/{file}")
    async def page_file(request: Request, file: str) -> Response:
        if file not in files:
            raise ApiError(404, f"the page has no file {file[:80]!r}; {nearest(file, files)}")
        return _respond(request, files[file], TYPES[Path(file).suffix])

    return router


def _require_small_png(image: bytes, name: str) -> None:
    """Raise ApiError (404) unless a bot's picture is a PNG of at most MAX_PICTURE_PIXELS per side."""
    width, height = (int.from_bytes(image[start : start + 4]) for start in (16, 20))  # the PNG's header (RFC 2083)
    if not image.startswith(PNG) or max(width, height) > MAX_PICTURE_PIXELS:
        raise ApiError(404, f"the picture of {name} is not a PNG of at most {MAX_PICTURE_PIXELS} pixels a side")


def _respond(request: Request, body: bytes, kind: str, headers: Mapping[str, str] = {}) -> Response:
    """Respond with a body and an ETag of its content, or with 304 when the client has it already.

    Args:
        request: the request, whose If-None-Match is compared.
        body: the content.
        kind: its content type.
        headers: further headers.
    """
    etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    all_headers = {**HEADERS, **headers, "ETag": etag, "Content-Type": kind}
    etags = [word.strip().removeprefix("W/") for word in request.headers.get("if-none-match", "").split(",")]
    if etag in etags:
        return Response(status_code=304, headers={key: value for key, value in all_headers.items() if key != "Content-Encoding"})
    return Response(body, headers=all_headers)


def _list_bots(bots: "Repository") -> list[dict[str, Any]]:
    entries = []
    for name in bots.names():
        try:
            bot = bots.describe(name)
        except ModelNotFound:  # the bot was removed since its name was listed
            continue
        versions = {"champion": bot.champion, "challenger": bot.challenger, "previous": bot.previous}
        entries.append({"name": name, **versions, "ready": bots.ready(name)})
    return entries


def _cached_for_a_second(list_bots: Callable[[], list[dict[str, Any]]]) -> Callable[[], list[dict[str, Any]]]:
    """Return a function that returns the result of `list_bots` and calls it again when the result is older than LIST_SECONDS."""
    value: list[dict[str, Any]] = []
    expires = 0.0

    def get() -> list[dict[str, Any]]:
        nonlocal value, expires
        if time.monotonic() >= expires:
            value, expires = list_bots(), time.monotonic() + LIST_SECONDS
        return value

    return get


def _can_access(request: Request, name: str) -> bool:
    """Whether the caller can query the bot; without keys everybody can."""
    caller = caller_of(request.scope.get("state", {}))
    return caller is None or caller.can_access(name)


async def _bot_files(bots: "Repository", request: Request, name: str) -> "BotFiles":
    names = [known for known in bots.names() if _can_access(request, known)]
    if name not in names:  # the same error for unknown and inaccessible bots, so that names of others' bots are not revealed
        raise ModelNotFound(name, names)
    return await bots.files(name)


async def _read_file(path: Path | None, max_bytes: int, missing: str) -> bytes:
    def read() -> bytes:
        if path is None:
            raise ApiError(404, missing)
        try:
            with path.open("rb") as file:
                return file.read(max_bytes)  # a longer card is cut; so is a larger picture, of which browsers show the first part
        except OSError as error:
            raise ApiError(404, missing) from error

    return await asyncio.to_thread(read)
