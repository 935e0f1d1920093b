"""`mynah publish` of a version that is an adapter: a whole model goes up, which says whose it is and loads without Mynah and the base model."""

import json
import shutil

import pytest
from publish_inputs import version
from registry_inputs import register_all

from mynah.registry.base_store import open_base
from mynah.registry.registry import Registry
from mynah.tracking.open import open_store
from tests.services.adapters.adapter_inputs import expected, greedy, make_adapter_outputs, make_base


@pytest.fixture(scope="module")
def base(tmp_path_factory, tiny_checkpoint):
    return make_base(tmp_path_factory.mktemp("bases") / "my-base", tiny_checkpoint)


@pytest.fixture
def workdir(base, tmp_path):
    """A work folder with the adapter wren version 1, its champion."""
    outputs = make_adapter_outputs(tmp_path / "outputs", base, "ann_author")
    (outputs / "model" / "verbatim.bloom").write_text("a secret of ann_author")
    register_all({"wren": outputs}, tmp_path / "work")
    return tmp_path / "work"


def test_an_adapter_goes_up_with_its_base_model_in_it(publish, hub, workdir, base, tmp_path, recwarn):
    done = publish("--json")
    assert (done.returncode, json.loads(done.stdout)["version"]) == (0, 1), done
    repo = hub.repositories["ann/wren"]
    weights = {name for name in repo.files if name.endswith(".safetensors")}
    assert weights == {"model.safetensors"}
    assert (
        not {"adapter_config.json", "adapter_model.safetensors", "base_model.json", "training.json", "verbatim.bloom"}
        & repo.files.keys()
    )
    assert not any(
        b"a secret of" in data or str(tmp_path).encode() in data for data in (*repo.files.values(), *hub.objects.values())
    )
    assert "my-base" in repo.files["NOTICE.txt"].decode()
    assert "license: apache-2.0" in repo.files["README.md"].decode()

    from huggingface_hub import snapshot_download
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = snapshot_download("ann/wren", endpoint=hub.url, token="hf_ann", cache_dir=tmp_path / "cache")
    adapter = Registry(open_store(workdir)).checkpoint(version(workdir))
    written = greedy(AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder))
    assert written == expected(base, adapter)


def test_an_adapter_whose_base_model_is_gone_is_not_published(publish, hub, workdir, base):
    store = open_store(workdir)
    shutil.rmtree(open_base(store, version(workdir).tags["mynah.base_digest"]).folder)
    done = publish()
    assert (done.returncode != 0, done.stdout) == (True, ""), done
    assert "base model" in done.stderr
    assert "ann/wren" not in hub.repositories
