"""Chromium, the bots and the servers that the tests of the playground share."""

import contextlib
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest
import uvicorn
from fastapi import FastAPI
from fastapi.responses import JSONResponse
from playground_server import BIG_AVIARY, Aviary, Completions, open_tab, png

from serving.playground import create_page
from serving.protocols.errors import register_error_handlers

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


@dataclass(frozen=True)
class Info:
    name: str
    champion: str
    challenger: str = ""
    previous: str = ""
    card: Path | None = None
    picture: Path | None = None


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
    register_error_handlers(app)
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
    (folder / "README.md").write_text(
        '# wren\n\nA bot that writes like <img src="avatar-1.png" width="64" height="64" align="middle" alt="">&nbsp; Wren.\n'
    )
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
