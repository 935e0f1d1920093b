"""Requests made from our own OpenAPI document by schemathesis: what it says is taken is taken, and answers are what it says."""

import json
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest


def run(url, tmp_path, *options):
    command = [Path(sys.executable).parent / "schemathesis", "run", f"{url}/openapi.json", "--seed", "1", "--no-color", *options]
    environment = os.environ | {
        "SCHEMATHESIS_HOOKS": "tests.services.schemathesis_hooks",
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "PYTHONWARNINGS": "",
    }
    return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200)


def test_the_document_is_true(server, tmp_path):
    done = run(server.url, tmp_path, "--max-examples", "3", "--phases", "examples,coverage,fuzzing", "--warnings", "off")
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert httpx.get(f"{server.url}/v2/health/ready").status_code == 200
    assert "Traceback" not in server.log


def test_it_would_find_a_lie(server, tmp_path):
    """A run over a document with one lie in it: that the list of models is a number."""
    document = httpx.get(f"{server.url}/openapi.json").json()
    document["paths"] = {"/v2/models": document["paths"]["/v2/models"]}
    answer = document["paths"]["/v2/models"]["get"]["responses"]["200"]["content"]["application/json"]
    answer["schema"] = {"type": "object", "properties": {"models": {"type": "number"}}}
    (tmp_path / "document.json").write_text(json.dumps(document))
    command = [Path(sys.executable).parent / "schemathesis", "run", tmp_path / "document.json", "--url", server.url, "--no-color"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert done.returncode == 1
    assert "Response violates schema" in done.stdout


@pytest.mark.parametrize(
    "path",
    ["/openai/v1/completions", "/v1/models/{model_name}:predict", "/v2/models/{model_name}/versions/{model_version}/infer"],
)
def test_the_document_describes_bodies_and_refusals(server, path):
    document = httpx.get(f"{server.url}/openapi.json").json()
    operation = document["paths"][path]["post"]
    reference = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    assert document["components"]["schemas"][reference.rsplit("/", 1)[1]]["properties"]
    assert {"200", "400", "401", "403", "404", "413", "415", "429", "503", "504"} <= set(operation["responses"])
    assert "422" not in operation["responses"]
