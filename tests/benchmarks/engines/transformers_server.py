"""The peer: transformers' `generate` in float32 behind HTTP, one request at a time, as KServe's Hugging Face runtime amounts to.

    python -m tests.benchmarks.engines.transformers_server CHECKPOINT THREADS

Answers `POST /v1/completions` with the fields `prompt`, `max_tokens`, `top_p` and `temperature`, and always generates `max_tokens`.
"""

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import torch
from transformers import GPT2LMHeadModel

from mynah.decoding.tokenizer import shared_tokenizer

READY = "Serving transformers on "


class Generator:
    """A GPT-2 and the lock under which it computes."""

    def __init__(self, checkpoint: Path) -> None:
        self._lock = threading.Lock()
        self._model = GPT2LMHeadModel.from_pretrained(checkpoint, dtype="float32", attn_implementation="sdpa").eval()
        self._tokenizer = shared_tokenizer(checkpoint)

    def generate(self, body: dict[str, Any]) -> dict[str, Any]:
        """OpenAI's answer to OpenAI's completion request, as far as the benchmark reads it."""
        ids = torch.tensor([self._tokenizer.encode(body["prompt"])])
        size = body["max_tokens"]
        with self._lock, torch.inference_mode():
            output = self._model.generate(
                ids, attention_mask=torch.ones_like(ids), do_sample=True, top_p=body["top_p"], temperature=body["temperature"],
                top_k=0, min_new_tokens=size, max_new_tokens=size, pad_token_id=self._model.config.eos_token_id,
            )  # fmt: skip
        count = output.shape[1] - ids.shape[1]
        return {"usage": {"prompt_tokens": ids.shape[1], "completion_tokens": count}, "choices": [{"ids": output[0].tolist()}]}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # connections are kept
    generator: Generator

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        content = json.dumps(self.generator.generate(body)).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


class Server(ThreadingHTTPServer):
    request_queue_size = 128  # every client connects at once


def main() -> None:
    torch.set_num_threads(int(sys.argv[2]))
    Handler.generator = Generator(Path(sys.argv[1]))
    server = Server(("127.0.0.1", 0), Handler)
    print(f"{READY}http://127.0.0.1:{server.server_port}", file=sys.stderr, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
