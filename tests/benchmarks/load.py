"""Clients in a process of their own: plain HTTP/1.1 on kept connections, so that they take as little of the machine as can be.

    python -m tests.benchmarks.load '{"url": …, "bots": [...], "clients": 16, "requests": 160, "tokens": 32, "stream": false, …}'

Prints one JSON object: seconds of the whole, tokens, errors, and for each request its seconds, and to its first token.
With `own_prompts` 64 clients ask with 64 prompts. `path` names another server's route than Mynah's, and `body` holds fields to add to each
request, or to send instead.
"""

import asyncio
import contextlib
import json
import random
import sys
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

PROMPT = "The sea this morning was"  # five tokens of GPT-2
NOUNS = ("sea", "sun", "sky", "rain", "wind", "fire", "road", "city")
TIMES = ("morning", "evening", "night", "week", "month", "year", "summer", "winter")
OWN_PROMPTS = [f"The {noun} this {when} was" for noun in NOUNS for when in TIMES]  # 64 of five tokens


@dataclass
class Result:
    seconds: list[float] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    tokens: int = 0
    errors: list[str] = field(default_factory=list)


@dataclass
class Client:
    """One connection, which asks one thing after another."""

    host: str
    port: int
    result: Result
    path: str

    async def __aenter__(self) -> "Client":
        self.reader, self.writer = await asyncio.open_connection(self.host, self.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()

    async def ask(self, body: dict[str, Any]) -> None:
        content = json.dumps(body).encode()
        head = f"POST {self.path} HTTP/1.1\r\nHost: {self.host}\r\nContent-Type: application/json\r\n"
        head += f"Content-Length: {len(content)}"
        began = time.perf_counter()
        self.writer.write(head.encode() + b"\r\n\r\n" + content)
        status, headers = await self._head()
        if status != 200:
            self.result.errors.append(f"{status} {(await self._body(headers))[:200]!r}")
            return
        if body.get("stream"):
            await self._events(began)
        else:
            self.result.tokens += json.loads(await self._body(headers))["usage"]["completion_tokens"]
        self.result.seconds.append(time.perf_counter() - began)

    async def _head(self) -> tuple[int, dict[str, str]]:
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:] if line)}
        return int(lines[0].split()[1]), headers

    async def _body(self, headers: dict[str, str]) -> bytes:
        if "content-length" in headers:
            return await self.reader.readexactly(int(headers["content-length"]))
        return b"".join([chunk async for chunk in self._chunks()])

    async def _chunks(self):
        while size := int(await self.reader.readuntil(b"\r\n"), 16):
            yield (await self.reader.readexactly(size + 2))[:-2]
        await self.reader.readexactly(2)

    async def _events(self, began: float) -> None:
        first = None
        async for chunk in self._chunks():
            if first is None:
                first = time.perf_counter() - began
                self.result.first.append(first)
            self.result.tokens += chunk.count(b"data: {")


async def run(plan: dict[str, Any]) -> dict[str, Any]:
    where = urlsplit(plan["url"])
    result = Result()
    left = iter(range(plan["requests"])) if "requests" in plan else iter(int, 1)
    ends = time.perf_counter() + plan.get("seconds", 1e9)

    def body_of(each: int) -> dict[str, Any]:
        size, bot = plan["tokens"], plan["bots"][each % len(plan["bots"])]
        prompt = OWN_PROMPTS[each % len(OWN_PROMPTS)] if plan.get("own_prompts") else PROMPT
        return {
            "model": bot, "prompt": prompt, "max_tokens": size, "min_tokens": size, "n": plan.get("n", 1), "temperature": 1.0,
            "top_p": 0.95, "seed": each, "stream": plan.get("stream", False), **plan.get("body", {}),
        }  # fmt: skip

    def client_of() -> Client:
        return Client(str(where.hostname), int(where.port or 80), result, plan.get("path", "/openai/v1/completions"))

    async def one(number: int) -> None:
        async with client_of() as client:
            await asyncio.sleep(plan.get("spread", 0.0) * number)
            for each in left:
                if time.perf_counter() > ends:
                    return
                await client.ask(body_of(each))

    async def arriving() -> None:
        """Requests that come when they come (a Poisson process of `rate` a second), whatever became of those before."""
        chance, going = random.Random(0), set()
        for each in left:
            going.add(asyncio.create_task(alone(each)))
            await asyncio.sleep(chance.expovariate(plan["rate"]))
        await asyncio.gather(*going)

    async def alone(each: int) -> None:
        async with client_of() as client:
            await client.ask(body_of(each))

    began = time.perf_counter()
    if "rate" in plan:
        await arriving()
    else:
        await asyncio.gather(*(one(number) for number in range(plan["clients"])))
    return {
        "wall": time.perf_counter() - began, "tokens": result.tokens, "errors": result.errors[:5], "failed": len(result.errors),
        "seconds": result.seconds, "first": result.first,
    }  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(asyncio.run(run(json.loads(sys.argv[1])))))
