"""A real HTTP server around a small application, for tests of what stands before every application; and the whole server."""

import asyncio
import contextlib
import os
import re
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, StreamingResponse

from serving.auth.middleware import AuthMiddleware
from serving.errors import ApiError
from serving.observability.middleware import ObservabilityMiddleware

BOTS = ("wren", "heron", "warbler")


class Held:
    """Requests with "hold" stay inside the application until the test lets them go."""

    def __init__(self):
        self.inside = threading.Semaphore(0)
        self.release = threading.Event()


def application(held: Held) -> FastAPI:
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)

    @app.exception_handler(ApiError)
    async def refused(request: Request, refusal: ApiError):
        return refusal.response_to(request.scope)

    async def ask(request: Request):
        """As a real handler does: whether this caller may ask this bot, then tokens for whoever counts them."""
        state, body = request.scope["state"], await request.json()
        name = request.path_params.get("name") or body["model"]
        state["caller"].require(name)
        if name not in BOTS:
            raise ApiError(404, f"there is no bot named {name[:80]!r}")
        state["bot"], state["version"], state["prompts"] = name, "3", [body.get("prompt", "")]
        if body.get("fail"):
            raise ValueError(f"cannot digest {body['prompt']!r}")
        if body.get("hold"):
            held.inside.release()
            await asyncio.to_thread(held.release.wait, 30)
        state["tokens"] = state.get("tokens", 0) + body.get("tokens", 0)
        if body.get("stream"):
            return StreamingResponse(_pieces(body), media_type="text/event-stream")
        return {"tenant": state["caller"].tenant}

    async def load(request: Request):
        request.scope["state"]["caller"].require_admin()
        return JSONResponse({})

    async def fine(request: Request):
        return JSONResponse({"ok": True})

    app.add_api_route("/v2/models/{name}/infer", ask, methods=["POST"])
    app.add_api_route("/openai/v1/completions", ask, methods=["POST"])
    app.add_api_route("/v2/repository/models/{name}/load", load, methods=["POST"])
    for path in ("/", "/v2/health/live", "/v2/health/ready", "/v1/models/{name}", "/v2/models/{name}/ready", "/v2/models"):
        app.add_api_route(path, fine)
    for path in ("/page/{file}", "/page/bots/{name}/card"):
        app.add_api_route(path, fine)
    return app


async def _pieces(body):
    for number in range(body["stream"]):
        yield f"data: {number}\n\n"
    if body.get("break"):
        raise RuntimeError("the engine fell over")


class SmallServer:
    """The server's address, and what it holds."""

    def __init__(self, url: str, held: Held):
        self.url = url
        self.held = held

    def ask(self, name="wren", key="", headers=None, **body) -> httpx.Response:
        sent = {**({"Authorization": f"Bearer {key}"} if key else {}), **(headers or {})}
        return httpx.post(f"{self.url}/v2/models/{name}/infer", json=body, headers=sent, timeout=30)

    def get(self, path, **headers) -> httpx.Response:
        return httpx.get(f"{self.url}{path}", headers=headers, timeout=30)


@contextlib.contextmanager
def small_server(keys=None, metrics=None, log=None, traces=None, **doors):
    """The small application behind Doors, and behind Signals where there are metrics."""
    held = Held()
    app = application(held)
    if metrics:
        app.add_route("/metrics", metrics.route)
    app = AuthMiddleware(app, keys, **doors)
    if metrics:
        app = ObservabilityMiddleware(app, metrics, log, traces)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(app, log_config=None, log_level="warning", access_log=False, lifespan="off", ws="none")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            deadline = time.monotonic() + 30
            while not server.started:
                assert time.monotonic() < deadline, "the server never began"
                time.sleep(0.01)
            yield SmallServer(f"http://127.0.0.1:{listener.getsockname()[1]}", held)
        finally:
            held.release.set()
            server.should_exit = True
            thread.join(30)


class WholeServer:
    """`mynah serve` in a process of its own; `log` is the file that it writes to, `end` stops it and gives the log's text."""

    def __init__(self, url: str, grpc: str, process: subprocess.Popen, log: Path):
        self.url, self.grpc = url, grpc
        self._process, self._log = process, log

    def infer(self, prompt: str, headers=None, name="wren", max_tokens=5) -> httpx.Response:
        tensor = {"name": "prompt", "datatype": "BYTES", "shape": [1], "data": [prompt]}
        body = {"inputs": [tensor], "parameters": {"max_tokens": max_tokens, "seed": 1}}
        return httpx.post(f"{self.url}/v2/models/{name}/infer", json=body, headers=headers, timeout=60)

    def end(self) -> str:
        self._process.terminate()
        self._process.wait(60)
        return self._log.read_text()


@contextlib.contextmanager
def whole_server(checkpoint: Path, folder: Path, *options: str, **environment: str):
    """The whole server, with the bot wren and gRPC, started as a person starts it."""
    log = folder / "log"
    command = [sys.executable, "-m", "pipelines", "serve", "--model-dir", str(checkpoint), "--name", "wren", "--version", "3"]
    with log.open("w") as file:
        process = subprocess.Popen(
            [*command, "--port", "0", "--grpc-port", "0", *options],
            stderr=file,
            env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        )
    try:
        deadline = time.monotonic() + 120
        while not (said := re.search(r"Serving .* on (http://\S+) and gRPC on port (\d+)", log.read_text())):
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield WholeServer(said[1], f"127.0.0.1:{said[2]}", process, log)
    finally:
        process.kill()
        process.wait(30)
