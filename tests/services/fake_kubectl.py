"""A kubectl that touches no cluster: keeps every call, answers from a folder, and leads port-forwards to a small server of its own.

FAKE_KUBECTL is that folder. calls.jsonl: the arguments of each call. A call that begins with VERB KIND prints VERB-KIND.json if it
lies there (`-` for the `/` of KIND/NAME), and fails where fail-VERB lies there; what a VERB changes lies in after-VERB/, whose files take the place
of those before it. A port-forward to a Service with `none` in its name, or while no-pod lies there, fails as kubectl does; one that is
asked for /end ends as with its pod.
"""

import json
import os
import re
import shutil
import stat
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

FOLDER = Path(os.environ.get("FAKE_KUBECTL", ""))


def install(folder, monkeypatch):
    """Put it first in PATH, as kubectl and as kind; returns the folder that FAKE_KUBECTL names."""
    programs, kept = folder / "bin", folder / "fake"
    for each in (programs, kept):
        each.mkdir()
    for name in ("kubectl", "kind"):
        program = programs / name
        program.write_text(f'#!/bin/sh\nexec {sys.executable} {Path(__file__).resolve()} "$@"\n')
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_KUBECTL", str(kept))
    for name in [name for name in os.environ if name.startswith("E2E_")]:
        monkeypatch.delenv(name)
    return kept


def calls(folder):
    """The arguments of each call until now."""
    kept = folder / "calls.jsonl"
    return [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []


# A second of each start of pytest goes to plugins that the suite has no use for.
LEAN = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": "-p pytest_timeout"}


def run_suite(folder, *arguments, **environment):
    """The end-to-end suite in a process of its own, with the kubectl in PATH; what it keeps is in folder/e2e."""
    argv = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--capture=no", *(arguments or ["tests/cluster"])]
    environment = os.environ | LEAN | {"E2E_FOLDER": str(folder / "e2e")} | environment
    root = Path(__file__).parents[2]
    return subprocess.run(argv, cwd=root, env=environment, capture_output=True, text=True, timeout=120)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/end":
            print("error: lost connection to pod", flush=True)
            os._exit(1)
        length = int(self.headers.get("Content-Length") or 0)
        asked = json.loads(self.rfile.read(length)) if length else None
        version = (FOLDER / "version").read_text() if (FOLDER / "version").exists() else "1"
        told = {"path": self.path, "method": self.command, "key": self.headers.get("X-API-Key"), "asked": asked}
        data = json.dumps(told).encode()
        self.send_response(503 if version == "none" else 200)
        self.send_header("X-Mynah-Version", version)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_POST = do_DELETE = do_GET  # noqa: N815 - as BaseHTTPRequestHandler names them

    def log_message(self, *_):
        print("Handling connection for", self.server.server_port, flush=True)


def main(words):
    with (FOLDER / "calls.jsonl").open("a") as calls:
        calls.write(json.dumps(words) + "\n")
    words = words[2:] if words[:1] == ["--context"] else words
    if words[0] == "port-forward":
        return forward(next(word for word in words if word.startswith("service/")), words[-1])
    if (FOLDER / f"fail-{words[0]}").exists():
        print(f"error: {words[0]} is not possible", file=sys.stderr)
        return 1
    answer = FOLDER / f"{'-'.join(words[:2]).replace('/', '-')}.json"
    if answer.exists():
        print(answer.read_text())
    if (after := FOLDER / f"after-{words[0]}").is_dir():
        shutil.copytree(after, FOLDER, dirs_exist_ok=True)
    return 0


def forward(service, ports):
    if "none" in service or (FOLDER / "no-pod").exists():
        print(f'Error from server (NotFound): services "{service.partition("/")[2]}" not found', file=sys.stderr)
        return 1
    local, port = re.fullmatch(r"(\d*):(\d+)", ports).groups()
    server = ThreadingHTTPServer(("127.0.0.1", int(local or 0)), Handler)
    print(f"Forwarding from 127.0.0.1:{server.server_port} -> {port}", flush=True)
    server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
