"""prune, doctor and forget beside adapters: a base model stays while an adapter needs it, and goes when none does."""

import json
import shutil
import subprocess

import pytest
from pipeline_runs import wait_until
from registry_inputs import FOLDERS, command, register_all

from mynah.maintenance.bases import examine_bases
from mynah.mlflow_client.client import experiment
from mynah.models.base_models import BaseModel
from mynah.registry.base_names import BASE_TAG
from mynah.registry.base_store import base_faults, base_lock, open_base, remove_unused, stored_bases
from mynah.registry.registry import Registry
from mynah.tracking.open import open_store
from tests.services.adapters.adapter_inputs import make_adapter_outputs


def digest_of(folder):
    return BaseModel("", folder).weights_digest


def problems(workdir, deep=False):
    return [(state.problem, state.fix) for state in examine_bases(open_store(workdir), deep=deep)]


def prune(mynah, workdir):
    done = mynah("prune", "--keep", "0", "--workdir", workdir, "--json")
    assert done.returncode == 0, done.stderr
    return [each["kind"] for each in json.loads(done.stdout)]


def drop_aliases(workdir, name="wren"):
    registry = Registry(open_store(workdir))
    for alias in registry.bot(name).aliases:
        registry.client.delete_registered_model_alias(name, alias)


def test_prune_takes_a_base_model_with_its_last_adapter(workdir, outputs, base, mynah):
    store = open_store(workdir)
    register_all({"heron": outputs[1]}, workdir, promoted=False)
    drop_aliases(workdir)
    assert prune(mynah, workdir) == ["version"]  # wren's; heron still needs the base model
    assert list(stored_bases(store)) == [digest_of(base)]
    drop_aliases(workdir, "heron")
    assert prune(mynah, workdir) == ["version", "base"]
    assert stored_bases(store) == {}
    assert not open_base(store, digest_of(base)).folder.exists()


def test_prune_leaves_a_base_model_while_one_registers(workdir, base, mynah):
    store = open_store(workdir)
    registry = Registry(store)
    logged = registry.client.create_logged_model(experiment(store), "model", tags={BASE_TAG: digest_of(base)})
    drop_aliases(workdir)
    assert prune(mynah, workdir) == ["version"]  # the other model is neither READY nor FAILED
    remove_unused(store, digest_of(base))  # as a prune does that looked before
    assert list(stored_bases(store)) == [digest_of(base)]
    registry.client.finalize_logged_model(logged.model_id, "FAILED")
    with base_lock(store, digest_of(base)):
        pass  # and it can be taken again
    assert prune(mynah, workdir) == ["base"]


@pytest.mark.parametrize("harm", ["gone", "file", "bytes", "unused"])
def test_the_doctor_sees_base_models(workdir, base, mynah, harm):
    store = open_store(workdir)
    assert problems(workdir, deep=True) == [("", "")]
    folder = open_base(store, digest_of(base)).folder
    if harm == "gone":
        shutil.rmtree(folder)
    elif harm == "file":
        (folder / "tokenizer.json").unlink()
    elif harm == "bytes":
        size = (folder / "model.safetensors").stat().st_size
        (folder / "model.safetensors").write_bytes(bytes(size))
        assert problems(workdir) == [("", "")]  # only --deep reads the bytes
    else:
        drop_aliases(workdir)
        registry = Registry(store)
        model = registry.bot("wren").versions[0].model_id
        registry.client.delete_model_version("wren", "1")
        registry.client.delete_logged_model(model)
    [(problem, fix)] = problems(workdir, deep=True)
    words = {
        "gone": "manifest.json",
        "file": "tokenizer.json is missing",
        "bytes": "its digest differs",
        "unused": "no adapter refers",
    }
    assert words[harm] in problem
    assert ("mynah prune" if harm == "unused" else "register an adapter") in fix.replace("Register", "register")
    assert mynah("doctor", "--deep", "--workdir", workdir).returncode == 3


def test_forgetting_a_bot_leaves_a_base_model_that_others_use_and_takes_the_last_ones(workdir, base, tmp_path, mynah):
    store = open_store(workdir)
    register_all({"heron": make_adapter_outputs(tmp_path / "heron", base, "bob", seed=2)}, workdir)
    done = mynah("forget", "--yes", "wren", "--workdir", workdir)
    assert (done.returncode, "not searched" in done.stderr) == (0, False), done.stderr
    assert list(stored_bases(store)) == [digest_of(base)]
    assert problems(workdir, deep=True) == [("", "")]
    cached = workdir / "cache" / "bases" / digest_of(base)
    cached.mkdir(parents=True)  # as a store in S3 has copies here
    (cached / "config.json").write_text("{}")
    done = mynah("forget", "--yes", "heron", "--workdir", workdir)
    assert done.returncode == 0, done.stderr
    assert stored_bases(store) == {}
    assert not cached.exists()


def test_a_base_model_stays_for_an_adapter_that_is_registered_while_another_is_forgotten(workdir, base, tmp_path):
    """`forget` has seen no other adapter, waits for the base model's lock, and looks again; and both at once, for real."""
    store, digest = open_store(workdir), digest_of(base)
    with base_lock(store, digest):  # as `register` holds it
        forgetting = subprocess.Popen(command("forget", "--yes", "wren", "--workdir", workdir), stderr=subprocess.PIPE, text=True)
        wait_until(lambda: any((workdir / ".forgetting").glob("*.json")), 60)  # the journal: written before anything is erased
        logged = Registry(store).client.create_logged_model(experiment(store), "model", tags={BASE_TAG: digest})
        assert forgetting.poll() is None
        assert list(stored_bases(store)) == [digest]
    _, said = forgetting.communicate(timeout=120)
    assert forgetting.returncode == 0, said
    assert Registry(store).bots() == []
    assert list(stored_bases(store)) == [digest]
    assert base_faults(open_base(store, digest), digest) == []
    Registry(store).client.finalize_logged_model(logged.model_id, "FAILED")


def test_forgetting_one_adapter_and_registering_another_of_its_base_model_at_once(workdir, base, tmp_path, mynah):
    outputs = make_adapter_outputs(tmp_path / "heron", base, "bob", seed=3)
    folders = [outputs / each for each in FOLDERS]
    both = [
        subprocess.Popen(command(*arguments, "--workdir", workdir), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        for arguments in (("register", "--name", "heron", *folders), ("forget", "--yes", "wren"))
    ]
    ends = [(each.communicate(timeout=180)[1], each.returncode) for each in both]
    assert [code for _, code in ends] == [0, 0], ends
    assert problems(workdir, deep=True) == [("", "")]
    assert mynah("promote", "heron", "--workdir", workdir).returncode == 0
