"""The page's own routes over real HTTP beside a scripted server of completions, and how a tab is opened and asked."""

import asyncio
import contextlib
import json
import re
import threading

from fastapi import Request
from fastapi.responses import JSONResponse, StreamingResponse

BIG_AVIARY = 3000


class Aviary:
    """What the page needs of serving.models.repository.Repository."""

    def __init__(self, bots):
        self.bots = {bot.name: bot for bot in bots}

    def names(self):
        return sorted(self.bots)

    def ready(self, address):
        return address == "wren"

    def describe(self, name):
        return self.bots[name]

    async def files(self, name):
        return self.bots[name]


class ClosedStream(StreamingResponse):
    """Closes its iterator when the reader leaves, also while a chunk is sent: else the iterator ends when it is collected."""

    async def stream_response(self, send):
        async with contextlib.aclosing(self.body_iterator):
            await super().stream_response(send)


class Completions:
    """`POST /openai/v1/completions` as the server answers it; prompts name what goes wrong."""

    def __init__(self):
        self.asked = []
        self.key = ""
        self.left = threading.Event()

    def stranger(self, request):
        return self.key and request.headers.get("authorization") != f"Bearer {self.key}"

    async def answer(self, request: Request):
        body = await request.json()
        self.asked.append(body)
        if body["prompt"] == "busy":
            said = {"message": "12 requests are waiting already", "type": "server_error", "param": None, "code": None}
            return JSONResponse({"error": said}, 503, {"Retry-After": "7"})
        name, _, alias = body["model"].partition("@")
        version = f"{name}:{2 if alias == 'challenger' else 1}"
        return ClosedStream(self.write(body), media_type="text/event-stream", headers={"X-Mynah-Version": version})

    async def write(self, body):
        def event(index, text, finish=None):
            choice = {"index": index, "text": text, "finish_reason": finish, "logprobs": None}
            chunk = {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": body["model"], "choices": [choice]}
            return f"data: {json.dumps(chunk)}\n\n"

        try:
            yield ": a comment that keeps proxies awake\n\n"
            for place in range(body["n"]):
                yield event(place, " <b>to</b>")
            while body["prompt"] == "slow":
                yield event(0, " and")
                await asyncio.sleep(0.01)
            if body["prompt"] == "broken":
                return
            if body["prompt"] == "midway":
                yield 'data: {"error": {"message": "the server is stopping; try again later"}}\n\n'
                return
            for place in range(body["n"]):
                yield event(place, f" sing\u202e {body['model']} {body['seed']} {place}")
                yield event(place, "", "length" if place else "stop")
            yield "data: [DONE]\n\n"
        finally:
            self.left.set()


async def refused(_request, refusal):
    return JSONResponse({"error": refusal.message}, refusal.status)


def png():
    from io import BytesIO

    from PIL import Image

    file = BytesIO()
    Image.new("RGB", (120, 63), (140, 33, 62)).save(file, format="PNG")
    return file.getvalue()


WATCH = "addEventListener('securitypolicyviolation', (event) => console.error('CSP', event.violatedDirective, event.blockedURI))"


@contextlib.contextmanager
def open_tab(chromium, shop, scheme="light", **options):
    url, completions = shop
    completions.asked.clear()
    completions.left.clear()
    completions.key = ""
    permissions = ["clipboard-read", "clipboard-write"]
    context = chromium.new_context(base_url=url, color_scheme=scheme, permissions=permissions, **options)
    page = context.new_page()
    page.wrong, page.foreign = [], []
    page.on(
        "console",
        lambda line: page.wrong.append(line.text) if line.type == "error" and "Failed to load" not in line.text else None,
    )
    page.on("pageerror", lambda error: page.wrong.append(str(error)))
    page.on("request", lambda sent: None if sent.url.startswith((url, "blob:")) else page.foreign.append(sent.url))
    page.add_init_script(WATCH)
    try:
        yield page
        assert page.foreign == []  # nothing is ever fetched from elsewhere
    finally:
        context.close()


def ask(page, prompt=None):
    from playwright.sync_api import expect

    if prompt is not None:
        page.get_by_label("Prompt").fill(prompt)
    page.get_by_role("button", name="Ask").click()
    return expect


def done(page, count=5):
    from playwright.sync_api import expect

    expect(page.locator("#status")).to_have_text(re.compile(rf"^Done: {count} answers?, seed \d+\.$"))
