"""What a registered version says it consists of: read from a store that anybody may have written to."""

import json

import pytest

from mynah.core.errors import InputError
from mynah.storage.local import FolderArtifactStore
from mynah.storage.manifest import find_faults, read_manifest

WHOLE = {name: {"size": 1, "sha256": "0" * 64} for name in ("MLmodel", "model/config.json", "model/model.safetensors")}


def write(folder, record):
    (folder / "manifest.json").write_text(record if isinstance(record, str) else json.dumps(record))
    return FolderArtifactStore(folder)


@pytest.mark.parametrize(
    "name",
    ["../x", "model/../../x", "/etc/x", "model//tmp/x", "model/./x", "a\\..\\x", "", ".", "model/\0", "model/.."],
)
def test_a_name_that_is_no_file_below_it_is_refused(tmp_path, name):
    source = write(tmp_path, {"files": WHOLE | {name: {"size": 1, "sha256": "0" * 64}}})
    with pytest.raises(InputError, match="is not a valid manifest"):
        read_manifest(source)
    assert find_faults(source)


@pytest.mark.parametrize(
    "record",
    ["", "[]", "{", {}, {"files": {}}, {"files": []}, {"files": {"MLmodel": 1}}, {"files": {"MLmodel": {"size": "x", "sha256": ""}}},
     {"files": {name: WHOLE[name] for name in list(WHOLE)[:2]}}],
)  # fmt: skip
def test_what_is_no_manifest_of_a_whole_model(tmp_path, record):
    with pytest.raises(InputError):
        read_manifest(write(tmp_path, record))


def test_faults_are_told_by_name(tmp_path):
    source = write(tmp_path, {"files": WHOLE})
    (tmp_path / "MLmodel").write_text("x")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("xx")
    assert find_faults(source) == ["model/model.safetensors is missing", "model/config.json has 2 bytes instead of 1"]
