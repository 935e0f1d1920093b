"""Adapters in KServe: version and base model by immutable addresses in one pod, or merged into one folder."""

import json
from contextlib import closing
from dataclasses import replace

import jsonschema
import pytest
from fake_kubernetes import SERVICES
from registry_inputs import register_all, unique

from components.deploy.manifest import KNATIVE, STANDARD, Serving, inference_service, resources, with_canary
from components.deploy.settings import DeploySettings
from components.deploy.step import deploy
from mynah.kubernetes.cluster import Cluster
from mynah.maintenance.bases import unused_bases
from mynah.models.adapter_base import base_folder
from mynah.models.checkpoint import load
from mynah.registry.base_store import open_base
from mynah.registry.registry import Registry
from mynah.tracking.open import open_store
from scripts.manifests.kserve import kserve_can_download
from scripts.manifests.objects import Manifests
from scripts.manifests.schemas import fits_its_schema
from tests.services.adapters.adapter_inputs import expected, greedy, make_adapter_outputs, make_base
from tests.services.deploy.deployments import QUICK, refused, serving

DIGEST = "0123456789abcdef0123456789abcdef"
BASE = {"base_uri": f"s3://b/mlflow/1/bases/{DIGEST}", "base_digest": DIGEST}
COMMAND = ("--poll", "0.01", "--trouble", "0.05", "--timeout", "5", "--context", "fake")


def adapter(version):
    return serving(version, **BASE)


def go(cluster, what, **settings):
    return deploy(what, cluster, DeploySettings(wait_limits=QUICK, **settings))


def served(predictor):
    """The version's folder and the base model's, by where they are mounted."""
    return {each["mountPath"]: each["uri"] for each in predictor.get("storageUris", [])}


def test_both_are_mounted_where_the_server_finds_them(kserve, cluster):
    go(cluster, adapter(1))
    predictor = kserve.predictor()
    assert "storageUri" not in predictor["model"]
    assert served(predictor) == {
        "/mnt/models": "s3://b/mlflow/1/models/m-1/artifacts/model/",
        f"/mnt/models/bases/{DIGEST}": f"s3://b/mlflow/1/bases/{DIGEST}/",
    }
    assert go(cluster, adapter(1)).action == "unchanged"
    [endpoint] = cluster.endpoints()
    assert endpoint.refers_to(BASE["base_uri"])
    assert endpoint.refers_to("s3://b/mlflow/1/models/m-1/artifacts")


def test_an_adapter_follows_a_whole_model_and_the_other_way_round(kserve, cluster):
    go(cluster, serving(1))
    go(cluster, adapter(2))
    assert "storageUri" not in kserve.predictor()["model"]
    go(cluster, serving(3))
    assert (kserve.predictor()["model"]["storageUri"], served(kserve.predictor())) == (
        "s3://b/mlflow/1/models/m-3/artifacts/model/",
        {},
    )


def test_an_adapter_that_does_not_start_is_taken_back(kserve, cluster):
    go(cluster, adapter(1))
    kserve.fates["2"] = "crash"
    with pytest.raises(Exception, match="Rolled back: mynah/wren serves version 1 again"):
        go(cluster, adapter(2))
    assert "s3://b/mlflow/1/models/m-1/artifacts/model/" in served(kserve.predictor()).values()


@pytest.mark.parametrize(("stable", "canary"), [(adapter, adapter), (adapter, serving), (serving, adapter)])
def test_a_canary_and_its_promotion(kserve, cluster, stable, canary):
    go(cluster, stable(1))
    assert go(cluster, canary(2), percent=10).action == "canary"
    [split] = kserve.kubernetes.objects[SERVICES, "mynah", "wren"]["spec"]["canary"]
    both = split["predictor"].get("storageUris"), split["predictor"]["model"].get("storageUri")
    # KServe lays the canary over the stable predictor: what serves two folders there must say its own.
    assert bool(both[0]) == (adapter in (stable, canary))
    assert not (both[0] and both[1])
    assert go(cluster, canary(2)).action == "deployed"  # KServe refuses a new name where it sees no change of the model
    assert kserve.predictor()["annotations"]["mynah.dev/version"] == "2"


@pytest.mark.parametrize("mode", [STANDARD, KNATIVE])
def test_the_manifests_fit_their_schemas_and_kserves_rules(mode, shared):
    schema = json.loads((shared / "data/crds/inferenceservice.v1beta1.json").read_text())
    schema = schema.get("schema", schema)
    written = [inference_service(adapter(1), "mynah", mode)]
    if mode == STANDARD:
        written += [with_canary(written[0], what(2), "v2", 10) for what in (adapter, serving)]
    for manifest in written:
        jsonschema.validate(manifest, schema)
    assert [*fits_its_schema(Manifests("", tuple(written))), *kserve_can_download(Manifests("", tuple(written)))] == []


def test_memory_is_for_the_base_model_too():
    one, other = Serving("wren", 1, "s3://b/m", 10 << 20), Serving("wren", 1, "s3://b/m", 300 << 20, **BASE)
    requests = [resources(each.size)["requests"]["memory"] for each in (one, other)]
    assert requests == ["896Mi", "1408Mi"]
    assert replace(one, **BASE).size == one.size


@pytest.fixture
def wren(on_server, tiny_checkpoint, tmp_path):
    """An adapter on an MLflow server with S3: (name, work folder, what it writes)."""
    name, workdir = unique("wren"), tmp_path / "work"
    base = make_base(tmp_path / "base", tiny_checkpoint)
    outputs = make_adapter_outputs(tmp_path / "outputs", base)
    register_all({name: outputs}, workdir)
    return name, workdir, expected(base, outputs / "model")


def keys(s3, uri):
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    with closing(s3.client()) as client:
        listed = client.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]
        return {each["Key"].removeprefix(prefix): each["LastModified"] for each in listed}


def download(s3, uri, folder):
    """What KServe's storage initializer does with an address."""
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    with closing(s3.client()) as client:
        for name in keys(s3, uri):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            client.download_file(bucket, prefix + name, str(folder / name))
    return folder


def test_a_champion_that_is_an_adapter_is_deployed_with_its_base_model(kubernetes, kserve, wren, mynah, s3, tmp_path):
    name, workdir, text = wren
    done = mynah("deploy", name, *COMMAND, "--workdir", workdir)
    assert done.returncode == 0, done.stderr
    mounted = served(kserve.predictor(name))
    root = tmp_path / "mnt"
    for path, uri in mounted.items():
        download(s3, uri, root / path.removeprefix("/"))
    found = root / "mnt/models"
    assert base_folder(found).is_relative_to(found)  # no variable says where it is
    loaded = load(found)
    assert greedy(loaded.model, loaded.tokenizer) == text
    registry = Registry(open_store(workdir))
    version = registry.bot(name).versions[0]
    registry.client.delete_logged_model(version.model_id)
    base_digest = version.tags["mynah.base_digest"]
    assert base_digest in unused_bases(registry, [])
    assert base_digest not in unused_bases(registry, Cluster.connect("fake").endpoints())  # the service refers to it


def test_merged_is_one_folder_that_is_stored_once(kubernetes, kserve, wren, mynah, s3, tmp_path):
    name, workdir, text = wren
    assert mynah("deploy", name, "--merged", *COMMAND, "--workdir", workdir).returncode == 0
    predictor = kserve.predictor(name)
    uri = predictor["model"]["storageUri"]
    assert (uri.endswith("/artifacts/merged/"), served(predictor)) == (True, {})
    before = keys(s3, uri)
    assert {"config.json", "model.safetensors", "tokenizer.json", "README.md"} <= set(before)
    loaded = load(download(s3, uri, tmp_path / "merged"))
    assert greedy(loaded.model, loaded.tokenizer) == text
    again = mynah("deploy", name, "--merged", *COMMAND, "--workdir", workdir)
    assert "already serves version 1" in again.stdout
    assert keys(s3, uri) == before


def test_an_adapter_whose_base_model_is_gone_is_not_deployed(kubernetes, kserve, wren, mynah):
    name, workdir, _ = wren
    store = open_store(workdir)
    registry = Registry(store)
    open_base(store, registry.head(name, 1).versions[0].tags["mynah.base_digest"]).remove()
    refused(mynah("deploy", name, *COMMAND, "--workdir", workdir), 2, "its base model", "Train it again")
