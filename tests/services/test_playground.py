"""The playground in a real Chromium: what it shows, how it is used by keyboard and screen reader, and what it never runs."""

import asyncio
import contextlib
import json
import re
import shutil
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs

import httpx
import pytest
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, StreamingResponse

from serving.playground import create_page
from serving.refusals import Refusal
from tests.conftest import needs

HOSTILE = """\
---
language: en
---

# sly <script>document.title = "owned"</script>

![A sample of what sly writes](predictions.png)
![tracker](https://evil.example/pixel.png)

[press me](javascript:document.title='owned') [data](data:text/html,<script>1</script>) [bank](https://user:pw@evil.example/)
[the real one](https://huggingface.co/gpt2#limits) <img src=x onerror="document.title='owned'">

- &#60;b&#62;not bold&#60;/b&#62; &#8238;desrever\u202e and **strong** with `code`

| Data | @sly |
| :-- | --: |
| Tweets <i>downloaded</i> | 1,620 |
| Tweets kept | 1,350 |

1. first
   goes on
1. second

## Use <b>it</b>

```python
print("<script>")
```
"""
BIG_AVIARY = 3000


@dataclass(frozen=True)
class Info:
    name: str
    champion: str
    challenger: str = ""
    previous: str = ""
    card: Path | None = None
    picture: Path | None = None


class Aviary:
    """What the page needs of serving.repository.Repository."""

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
        return StreamingResponse(self.write(body), media_type="text/event-stream", headers={"X-Mynah-Version": version})

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


@contextlib.contextmanager
def serving(bots):
    """A server with the page's own routes over real HTTP; yields its URL and the completions beside it."""
    app, completions = FastAPI(openapi_url=None), Completions()

    @app.middleware("http")
    async def door(request, call):
        guarded = request.url.path.startswith(("/openai", "/page/bots"))
        if guarded and completions.stranger(request):
            return JSONResponse({"error": "this server wants an API key: Authorization: Bearer KEY"}, 401)
        return await call(request)

    app.include_router(create_page(Aviary(bots)))
    app.add_api_route("/openai/v1/completions", completions.answer, methods=["POST"])
    app.add_exception_handler(Refusal, refused)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, log_level="warning", lifespan="off", ws="none"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}", completions
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def bots(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cards")
    (folder / "README.md").write_text("# wren\n\nA bot that writes like Wren.\n")
    (folder / "sly.md").write_text(HOSTILE)
    (folder / "predictions.png").write_bytes(png())
    (folder / "fake.png").write_bytes(b"<svg onload=alert(1)>")
    picture = folder / "predictions.png"
    return [
        Info("wren", "1", "2", card=folder / "README.md", picture=picture),
        Info("sly", "1", card=folder / "sly.md", picture=picture),
        Info("bare", "4"),
        Info("gone", "4", card=folder / "lost.md", picture=folder / "fake.png"),
    ]


@pytest.fixture(scope="module")
def shop(bots):
    with serving(bots) as made:
        yield made


@pytest.fixture(scope="module")
def aviary(bots):
    with serving([*bots, *(Info(f"bird-{number:04}", "1") for number in range(BIG_AVIARY))]) as made:
        yield made


@pytest.fixture(scope="module")
def chromium():
    needs(shutil.which("chromium") is not None, "Chromium is not installed (Debian's package chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield browser
        browser.close()


WATCH = "addEventListener('securitypolicyviolation', (event) => console.error('CSP', event.violatedDirective, event.blockedURI))"


@pytest.fixture(params=["light", "dark"])
def tab(request, chromium, shop):
    """A page on the small server in either scheme; a violation of the policy, or an error in a script, fails the test."""
    with open_tab(chromium, shop, request.param) as page:
        yield page
        assert page.wrong == []


@pytest.fixture
def plain_tab(chromium, shop):
    with open_tab(chromium, shop, "light") as page:
        yield page


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


# What the server sends


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
    class Caller:
        def may(self, name):
            return name != "sly"

    app = FastAPI()

    @app.middleware("http")
    async def door(request, call):
        request.state.caller = Caller()
        return await call(request)

    app.include_router(create_page(Aviary(bots)))
    app.add_exception_handler(Refusal, refused)

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
                raise Refusal(404, "gone")
            return super().describe(name)

    app = FastAPI()
    app.include_router(create_page(Moving(bots)))

    async def get():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            return (await client.get("/page/bots.json")).json()

    assert [bot["name"] for bot in asyncio.run(get())] == ["gone", "sly", "wren"]


# Asking


def test_answers_stream_beside_the_card_and_the_picture(tab):
    tab.goto("/#bot=wren&n=3&seed=7")
    expect = ask(tab)
    done(tab, 3)
    answers = tab.locator("#answers li p")
    expect(answers).to_have_text([f"My dream is <b>to</b> sing wren 7 {place}" for place in range(3)])
    expect(tab.locator("#answers li .note")).to_have_text(["", "cut after 160 tokens", "cut after 160 tokens"])
    expect(tab.locator("#answers h3")).to_have_text("wren version 1")
    expect(tab.locator("#card")).to_contain_text("A bot that writes like Wren.")
    expect(tab.get_by_role("img", name="A sample of what wren writes")).to_be_visible()
    assert (
        tab.evaluate("document.getElementById('picture').getContext('2d').getImageData(5, 5, 1, 1).data.join()")
        == "140,33,62,255"
    )
    assert tab.title() == "wren · Mynah"
    tab.get_by_role("button", name="Copy answer 2").click()
    expect(tab.locator("#status")).to_have_text("Copied")
    assert tab.evaluate("navigator.clipboard.readText()") == "My dream is <b>to</b> sing wren 7 1"


def test_what_is_asked_is_what_the_form_says(plain_tab, shop):
    plain_tab.goto("/#bot=wren")
    plain_tab.get_by_text("Settings").click()
    for label, value in {"Answers": "2", "Max tokens": "12", "Temperature": "0.7", "Top-p": "0.5", "Seed": "99"}.items():
        plain_tab.get_by_role("spinbutton", name=label).fill(value)
    ask(plain_tab, "I like")
    done(plain_tab, 2)
    (asked,) = shop[1].asked
    sampling = {"n": 2, "max_tokens": 12, "temperature": 0.7, "top_p": 0.5, "seed": 99}
    assert asked == {"model": "wren", "prompt": "I like", "stream": True, **sampling}


def test_a_setting_out_of_range_is_said_before_anything_is_asked(plain_tab, shop):
    plain_tab.goto("/#bot=wren&temperature=40")
    ask(plain_tab)
    assert plain_tab.evaluate("document.activeElement.name") == "temperature"
    assert shop[1].asked == []


def test_champion_and_challenger_answer_the_same_prompt_with_the_same_seed(tab, shop):
    from playwright.sync_api import expect

    tab.goto("/#bot=wren&n=2")
    tab.get_by_label("Champion beside challenger").check()
    ask(tab)
    done(tab, 4)
    first, second = shop[1].asked
    assert {first.pop("model"), second.pop("model")} == {"wren@champion", "wren@challenger"}
    assert first == second
    expect(tab.locator("#answers h3")).to_have_text(["champion version 1", "challenger version 2"])
    boxes = [section.bounding_box() for section in tab.locator("#answers section").all()]
    assert boxes[0]["y"] == boxes[1]["y"]
    assert boxes[0]["x"] + boxes[0]["width"] <= boxes[1]["x"]


def test_a_bot_without_a_challenger_has_nothing_to_compare(plain_tab, shop):
    plain_tab.goto("/#bot=bare&compare=1&n=1")
    ask(plain_tab)
    done(plain_tab, 1)
    assert not plain_tab.get_by_label("Champion beside challenger").is_visible()
    assert [asked["model"] for asked in shop[1].asked] == ["bare"]


def test_a_link_brings_everything_back_and_asks_nothing_by_itself(tab, shop):
    from playwright.sync_api import expect

    tab.goto("/#bot=wren")
    tab.get_by_text("Settings").click()
    tab.get_by_label("Temperature").fill("0.7")
    tab.get_by_label("Champion beside challenger").check()
    ask(tab, "Tea & rain? 50% #1 “ö”\nthen")
    done(tab, 10)
    seed = shop[1].asked[0]["seed"]
    first = tab.locator("#answers li p").all_text_contents()
    tab.get_by_role("button", name="Copy link").click()
    expect(tab.get_by_role("button", name="Copied")).to_be_visible()
    link = tab.evaluate("navigator.clipboard.readText()")
    assert parse_qs(link.partition("#")[2])["bot"] == ["wren"]
    shop[1].asked.clear()
    tab.goto("about:blank")
    tab.goto(link)
    expect(tab.get_by_label("Prompt")).to_have_value("Tea & rain? 50% #1 “ö”\nthen")
    expect(tab.get_by_label("Temperature")).to_have_value("0.7")
    expect(tab.get_by_label("Seed")).to_have_value(str(seed))
    expect(tab.get_by_label("Champion beside challenger")).to_be_checked()
    expect(tab.get_by_role("button", name="Ask")).to_be_focused()
    assert shop[1].asked == []
    tab.keyboard.press("Enter")
    done(tab, 10)
    assert tab.locator("#answers li p").all_text_contents() == first


def test_stop_ends_the_answers_and_the_server_sees_it(tab, shop):
    tab.goto("/#bot=wren&n=1")
    expect = ask(tab, "slow")
    expect(tab.locator("#answers li p")).to_contain_text("and and and")
    assert not shop[1].left.is_set()
    tab.get_by_role("button", name="Stop").click()
    expect(tab.locator("#status")).to_have_text(re.compile("^Stopped: 0 of 1 answer,"))
    assert shop[1].left.wait(20)
    expect(tab.get_by_role("button", name="Stop")).to_be_disabled()
    expect(tab.get_by_role("button", name="Ask")).to_be_focused()
    expect(tab.locator("#answers li p")).to_contain_text("slow <b>to</b> and")  # what was written stays


def test_asking_again_replaces_what_is_being_written(plain_tab, shop):
    plain_tab.goto("/#bot=wren&n=1")
    expect = ask(plain_tab, "slow")
    expect(plain_tab.locator("#answers li p")).to_contain_text("and and")
    ask(plain_tab, "quick")
    done(plain_tab, 1)
    assert shop[1].left.wait(20)
    expect(plain_tab.locator("#answers li p")).to_have_text(re.compile("^quick <b>to</b> sing wren"))


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ("busy", "12 requests are waiting already (try again in 7 s)"),
        ("broken", "The connection broke off before the answers were whole."),
        ("midway", "the server is stopping; try again later"),
    ],
)
def test_the_servers_own_words_are_shown(plain_tab, prompt, said):
    plain_tab.goto("/#bot=wren")
    expect = ask(plain_tab, prompt)
    expect(plain_tab.get_by_role("alert").filter(visible=True)).to_have_text(said)
    expect(plain_tab.locator("#status")).to_have_text(re.compile("^Broken off: 0 of 5 answers"))


def test_a_server_that_is_away_is_said(plain_tab):
    plain_tab.goto("/#bot=wren")
    plain_tab.route("**/openai/**", lambda route: route.abort())
    expect = ask(plain_tab)
    expect(plain_tab.get_by_role("alert").filter(visible=True)).to_have_text("The server can't be reached. Is it still running?")


def test_a_key_is_asked_for_and_kept_only_in_the_tab(tab, shop):
    from playwright.sync_api import expect

    shop[1].key = "s3cret"
    tab.goto("/#bot=wren&n=1")
    expect(tab.get_by_label("API key")).to_be_focused()
    expect(tab.get_by_role("alert").filter(visible=True)).to_contain_text("this server wants an API key")
    tab.keyboard.type("wrong")
    tab.keyboard.press("Enter")
    expect(tab.get_by_label("API key")).to_be_focused()
    tab.get_by_label("API key").fill("s3cret")
    tab.keyboard.press("Enter")
    expect(tab.locator("#card")).to_contain_text("A bot that writes like Wren.")
    expect(tab.get_by_role("img", name="A sample of what wren writes")).to_be_visible()
    ask(tab)
    done(tab, 1)
    assert tab.evaluate("[JSON.stringify(localStorage), document.cookie, location.href.includes('s3cret')]") == ["{}", "", False]
    assert tab.evaluate("JSON.stringify(sessionStorage)") == '{"mynah-key":"s3cret"}'
    tab.reload()  # the tab still knows it
    expect(tab.locator("#card")).to_contain_text("A bot that writes like Wren.")
    shop[1].key = "another"  # while the page is open
    ask(tab)
    expect(tab.get_by_label("API key")).to_be_focused()
    tab.get_by_label("API key").fill("another")
    tab.keyboard.press("Enter")  # asks what was asked
    done(tab, 1)


def test_a_card_that_comes_with_the_first_answer_is_shown_then(plain_tab, bots):
    from playwright.sync_api import expect

    card = next(bot.card for bot in bots if bot.name == "gone")
    plain_tab.goto("/#bot=gone&n=1")
    expect(plain_tab.locator("#card")).to_have_text("there is no card of gone here yet")
    card.write_text("# gone\n\nBack again.\n")
    try:
        ask(plain_tab)
        expect(plain_tab.locator("#card")).to_contain_text("Back again.")
    finally:
        card.unlink()


def test_what_is_typed_before_the_bots_are_known_stays(plain_tab):
    from playwright.sync_api import expect

    held = []
    plain_tab.route("**/bots.json", lambda route: held.append(route))
    with plain_tab.expect_request("**/bots.json"):
        plain_tab.goto("/#bot=wren&n=1&prompt=I")
    expect(plain_tab.get_by_label("Prompt")).to_have_value("I")
    plain_tab.get_by_label("Prompt").fill("typed early")
    expect(plain_tab.get_by_role("button", name="Ask")).to_be_disabled()
    held[0].continue_()
    ask(plain_tab)
    done(plain_tab, 1)
    expect(plain_tab.locator("#answers li p")).to_contain_text("typed early")


# Choosing


def test_one_bot_among_thousands_is_found_by_typing(chromium, aviary):
    from playwright.sync_api import expect

    with open_tab(chromium, aviary) as page:
        page.goto("/")
        box = page.get_by_role("combobox", name="Bot")
        expect(box).to_have_value("bare")  # the first
        box.click()
        options = page.get_by_role("option")
        expect(options).to_have_count(50)
        expect(page.locator("#count")).to_have_text("50 of 3,004 shown; type to find others")
        box.fill("bird-299")
        expect(options).to_have_count(10)
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowDown")
        expect(page.get_by_role("option", selected=True)).to_have_text("bird-2992 version 1")
        assert box.get_attribute("aria-activedescendant") == page.get_by_role("option", selected=True).get_attribute("id")
        page.keyboard.press("Enter")
        expect(box).to_have_value("bird-2992")
        expect(page.locator("#popup")).to_be_hidden()
        box.fill("zzz")
        expect(page.locator("#count")).to_have_text("No bot has “zzz” in its name.")
        page.keyboard.press("Escape")
        expect(box).to_have_value("bird-2992")
        box.fill("wr")
        page.get_by_role("option", name="wren").click()
        expect(page.locator("#card")).to_contain_text("A bot that writes like Wren.")
        assert page.wrong == []


def test_a_link_to_a_bot_that_is_not_there_says_so(plain_tab, shop):
    expect = None
    plain_tab.goto("/#bot=%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E")
    expect = ask(plain_tab)
    expect(plain_tab.get_by_role("alert").filter(visible=True)).to_have_text(
        "There is no bot named “<img src=x onerror=alert(1)>” here."
    )
    assert (shop[1].asked, plain_tab.wrong) == ([], [])


# Hostile words


def test_a_hostile_card_is_words(tab):
    from playwright.sync_api import expect

    tab.goto("/#bot=sly")
    card = tab.locator("#card")
    expect(card.locator("h3")).to_have_text('sly <script>document.title = "owned"</script>')
    assert tab.evaluate("[...document.querySelectorAll('#card *')].map((node) => node.localName)").count("a") == 1
    assert card.locator("script, img, b, i, iframe").count() == 0
    link = card.get_by_role("link")
    assert link.get_attribute("href") == "https://huggingface.co/gpt2#limits"
    assert "noopener" in link.get_attribute("rel")
    expect(card).to_contain_text("the real one (huggingface.co)")
    expect(card).to_contain_text("press me data bank")
    expect(card).to_contain_text("[picture: tracker]")
    expect(card.locator("ul li")).to_have_text("<b>not bold</b> desrever and strong with code")
    assert not re.search("[\u202a-\u202e\u2066-\u2069]", card.text_content())
    expect(card.get_by_role("row")).to_have_text(["Data@sly", "Tweets <i>downloaded</i>1,620", "Tweets kept1,350"])
    expect(card.locator("ol li")).to_have_text(["first goes on", "second"])
    expect(card.locator("pre")).to_be_hidden()
    card.get_by_text("Use <b>it</b>").click()
    expect(card.locator("pre")).to_be_visible()
    expect(card.locator("pre")).to_have_text('print("<script>")')
    expect(card).not_to_contain_text("language: en")
    assert tab.title() == "sly · Mynah"


def test_hostile_prompts_and_answers_are_words(tab):
    tab.goto("/#bot=wren&n=1&seed=1")
    expect = ask(tab, "<img src=x onerror=\"document.title='owned'\">\u202e")
    done(tab, 1)
    expect(tab.locator("#answers li p")).to_have_text(
        "<img src=x onerror=\"document.title='owned'\"> <b>to</b> sing wren 1 0", use_inner_text=False
    )
    assert tab.locator("#answers img").count() == 0
    assert "\u202e" not in tab.locator("#answers").text_content()
    assert tab.title() == "wren · Mynah"


@pytest.mark.parametrize("length", [20_000, 120_000])
@pytest.mark.parametrize("piece", ["`", "[", "![](", "**", "|", "&#", "- ", "``x"])
def test_a_card_made_to_hang_the_page_does_not(plain_tab, piece, length):
    """Time grows with the length and not with its square: 120,000 characters would take minutes."""
    plain_tab.goto("/")
    program = "async (text) => (await import('/page/markdown.js')).render(text).textContent.length"
    assert plain_tab.evaluate(program, piece * (length // len(piece))) >= 0


def test_the_policy_stops_what_the_page_would_never_do(plain_tab):
    """The fixture's watch sees a violation when there is one."""
    plain_tab.goto("/#bot=wren")
    program = """() => {
        const script = document.createElement("script");
        script.append("document.title = 'owned'");
        for (const wrong of [
            () => document.body.append(script),
            () => (document.body.innerHTML = "<p>owned</p>"),
            () => document.body.setAttribute("onclick", "document.title = 'owned'"),
            () => document.head.append(Object.assign(document.createElement("style"), { textContent: "p { color: red }" })),
            () => (new Image().src = "https://evil.example/pixel.png"),
            () => fetch("https://evil.example/").catch(() => {}),
        ]) try { wrong(); } catch {}
    }"""
    plain_tab.evaluate(program)
    plain_tab.wait_for_timeout(300)
    seen = [line.split()[1] for line in plain_tab.wrong if line.startswith("CSP ")]
    assert {"require-trusted-types-for", "style-src-elem", "img-src", "connect-src"} <= set(seen)
    assert seen.count("require-trusted-types-for") >= 3
    assert plain_tab.title() == "wren · Mynah"
    plain_tab.foreign.clear()  # what the policy blocked is listed too


# Keyboard, screen readers, schemes, sizes


def test_all_of_it_works_by_keyboard(tab):
    from playwright.sync_api import expect

    tab.goto("/")
    expect(tab.get_by_role("combobox", name="Bot")).to_have_value("bare")
    tab.keyboard.press("Tab")
    expect(tab.get_by_role("link", name="Skip to the prompt")).to_be_focused()
    tab.keyboard.press("Enter")
    tab.keyboard.press("Tab")
    expect(tab.get_by_role("combobox", name="Bot")).to_be_focused()
    tab.keyboard.type("wre")
    tab.keyboard.press("Enter")
    tab.keyboard.press("Tab")
    expect(tab.get_by_label("Prompt")).to_be_focused()
    tab.keyboard.press("ControlOrMeta+a")
    tab.keyboard.type("slow")
    tab.keyboard.press("ControlOrMeta+Enter")
    expect(tab.locator("#answers li p").first).to_contain_text("and and")
    for name in ("Champion beside challenger", "Settings", "Ask"):
        tab.keyboard.press("Tab")
        assert name in tab.evaluate("(document.activeElement.labels?.[0] ?? document.activeElement).textContent")
        assert tab.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid", name
    tab.keyboard.press("Tab")
    expect(tab.get_by_role("button", name="Stop")).to_be_focused()
    tab.keyboard.press("Enter")
    expect(tab.get_by_role("button", name="Ask")).to_be_focused()
    expect(tab.locator("#status")).to_have_text(re.compile("^Stopped"))


def test_a_screen_reader_is_told_what_is_there_and_when_it_is_done(plain_tab):
    from playwright.sync_api import expect

    plain_tab.goto("/#bot=wren&n=2&seed=3")
    spoken = "new MutationObserver(() => (window.spoken ??= []).push(document.getElementById('status').textContent))"
    plain_tab.evaluate(
        f"{spoken}.observe(document.getElementById('status'), {{childList: true, characterData: true, subtree: true}})"
    )
    ask(plain_tab)
    done(plain_tab, 2)
    assert plain_tab.evaluate("window.spoken") == ["wren is writing …", "Done: 2 answers, seed 3."]  # never token by token
    assert plain_tab.locator("#answers").get_attribute("aria-busy") == "false"
    assert plain_tab.locator("[aria-live], [role=status], [role=alert], [role=log]").locator("#answers").count() == 0
    expect(plain_tab.locator("body")).to_match_aria_snapshot("""
        - link "Skip to the prompt"
        - banner:
          - heading "Mynah" [level=1]
        - main:
          - form "Ask a bot":
            - text: Bot
            - combobox "Bot"
            - text: Prompt
            - textbox "Prompt"
            - checkbox "Champion beside challenger"
            - group:
              - spinbutton "Answers"
              - spinbutton "Max tokens"
              - spinbutton "Temperature"
              - spinbutton "Top-p"
              - spinbutton "Seed"
            - button "Ask"
            - button "Stop" [disabled]
            - button "Copy link"
          - status: "Done: 2 answers, seed 3."
          - region "Answers":
            - heading "Answers" [level=2]
            - region "Answers of wren":
              - heading "wren version 1" [level=3]
              - list:
                - listitem:
                  - paragraph
                  - button "Copy answer 1"
                - listitem:
                  - paragraph
                  - button "Copy answer 2"
          - complementary "About wren":
            - heading "About wren" [level=2]
            - img "A sample of what wren writes"
            - heading "wren" [level=3]
        - contentinfo
    """)


CONTRASTS = """() => {
    const light = (colour) => {
        const parts = colour.match(/[\\d.]+/g).slice(0, 3).map((part) => part / 255);
        const [red, green, blue] = parts.map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
    };
    const behind = (node) => {
        for (; node; node = node.parentElement) {
            const colour = getComputedStyle(node).backgroundColor;
            if (!/, 0\\)$|transparent/.test(colour)) return colour;
        }
        return "rgb(255, 255, 255)";
    };
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    const found = {};
    while (walker.nextNode()) {
        const node = walker.currentNode.parentElement;
        if (!walker.currentNode.data.trim() || !node.checkVisibility() || node.closest("button:disabled, noscript")) continue;
        const [front, back] = [getComputedStyle(node).color, behind(node)];
        const [low, high] = [light(front), light(back)].sort((one, other) => one - other);
        found[`${front} on ${back}`] = (high + 0.05) / (low + 0.05);
    }
    return found;
}"""


def test_every_text_has_contrast_enough(tab, shop):
    from playwright.sync_api import expect

    tab.goto("/#bot=sly&n=2&seed=3")
    ask(tab)
    done(tab, 2)
    ask(tab, "busy")
    expect(tab.get_by_role("alert").filter(visible=True)).to_be_visible()
    ask(tab, "I")
    done(tab, 2)
    tab.get_by_role("combobox").click()
    found = tab.evaluate(CONTRASTS)
    assert len(found) >= 5
    assert {pair: ratio for pair, ratio in found.items() if ratio < 4.5} == {}  # WCAG 2.2, 1.4.3


def test_light_and_dark_differ(chromium, shop):
    papers = []
    for scheme in ("light", "dark"):
        with open_tab(chromium, shop, scheme) as page:
            page.goto("/")
            papers.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert papers == ["rgb(252, 250, 246)", "rgb(23, 25, 29)"]


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_nothing_is_wider_than_the_screen(chromium, shop, width):
    with open_tab(chromium, shop, viewport={"width": width, "height": 700}) as page:
        page.goto("/#bot=sly&n=1")
        ask(page, "a" * 400)
        done(page, 1)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.wrong == []


def test_who_wants_less_motion_gets_none(chromium, shop):
    for motion, animation in (("no-preference", "blink"), ("reduce", "none")):
        with open_tab(chromium, shop, reduced_motion=motion) as page:
            page.goto("/#bot=wren&n=1")
            ask(page, "slow")
            page.locator(".writing p").wait_for()
            assert page.evaluate("getComputedStyle(document.querySelector('.writing p'), '::after').animationName") == animation
            page.get_by_role("button", name="Stop").click()


# With a real server and a real model


@contextlib.contextmanager
def really_serving(folders, *options):
    """`mynah serve`'s own server in a process of its own, on a free port; yields its URL."""
    code = (
        "from pathlib import Path\nfrom serving.server import serve\nfrom serving.settings import Settings\n"
        "from serving.repository.sources import FolderSource, ServedBot\n"
        f"bots = [ServedBot(name, '3', Path(folder)) for name, folder in {folders!r}]\n"
        f"serve(FolderSource(bots), Settings(port=0, {', '.join(options)}))"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
    ready, lines = threading.Event(), []

    def read():
        for line in process.stderr:
            lines.append(line)
            if line.startswith("Serving "):
                ready.set()
        ready.set()  # it ended without serving: the assertion shows why

    reader = threading.Thread(target=read)
    reader.start()
    try:
        assert ready.wait(60)
        address = re.search(r"http://127\.0\.0\.1:\d+", "".join(lines))
        assert address, "".join(lines)
        yield address.group()
    finally:
        process.kill()
        process.wait()
        reader.join()
        process.stderr.close()


def test_a_real_bot_behind_a_real_key_from_the_link_to_the_answers(chromium, tiny_checkpoint, tmp_path, mynah):
    from playwright.sync_api import expect

    folder, keys = tmp_path / "bot", tmp_path / "keys.json"
    shutil.copytree(tiny_checkpoint, folder)
    (folder / "README.md").write_text("# wren\n\nA bot that writes like Wren.\n")
    (folder / "predictions.png").write_bytes(png())
    key = mynah("keys", "add", "--file", keys, "--tenant", "ann", "--bot", "wren").stdout.split()[-1]
    bots = [("wren", str(folder)), ("heron", str(tiny_checkpoint))]
    with really_serving(bots, f"keys_file=Path({str(keys)!r})") as url, open_tab(chromium, (url, Completions())) as page:
        page.goto("/#bot=wren&n=3&max_tokens=12&seed=7")
        page.get_by_label("API key").fill(key)
        page.keyboard.press("Enter")
        expect(page.locator("#card")).to_contain_text("A bot that writes like Wren.")
        expect(page.get_by_role("img", name="A sample of what wren writes")).to_be_visible()
        page.get_by_role("combobox").click()
        expect(page.get_by_role("option")).to_have_text(["wren version 3"])  # heron is not this key's
        page.keyboard.press("Escape")
        ask(page)
        done(page, 3)
        expect(page.locator("#answers h3")).to_have_text("wren version 3")
        first = page.locator("#answers li p").all_text_contents()
        assert len(set(first)) == 3
        assert all(text.startswith("My dream is") and text != "My dream is" for text in first)
        page.reload()
        expect(page.locator("#card")).to_contain_text("A bot that writes like Wren.")
        ask(page)
        done(page, 3)
        assert page.locator("#answers li p").all_text_contents() == first  # the same seed, the same text
        ask(page, "word " * 400)
        expect(page.get_by_role("alert").filter(visible=True)).to_contain_text("tokens")
        assert page.wrong == []
