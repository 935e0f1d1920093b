"""The steps that need no model start fast: they load no library of models, which takes seconds in every pod."""

import json
import subprocess
import sys

import pytest

from components.run_inputs import RunInputs

CODE = """
import json, sys
from components.fetch.component import fetch
from components.filter.component import filter_posts

at = {"spec": sys.argv[1], "kfp_run": "", "parent_run": ""}
raw, run = fetch.python_func(**at)
data = filter_posts.python_func(**at, raw=raw)
print(json.dumps([raw, run, data, sorted({"torch", "transformers", "mlflow", "sklearn", "pandas"} & set(sys.modules))]))
"""


@pytest.mark.slow
def test_fetch_and_filter_load_no_library_of_models(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    spec = RunInputs("wren", ["sample"], "fledgling").write(tmp_path / "run.json")
    done = subprocess.run([sys.executable, "-c", CODE, spec], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    *written, loaded = json.loads(done.stdout.splitlines()[-1])
    assert written == [str(tmp_path / "raw"), "", str(tmp_path / "data")]
    assert (tmp_path / "data" / "train.jsonl").stat().st_size > 10_000
    assert loaded == []
