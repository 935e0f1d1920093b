"""`mynah generate` takes the addresses that requests take."""

import json

import pytest
from registry_inputs import add_version

from mynah.core.errors import InputError
from mynah.registry.registry import Registry
from mynah.tracking.open import open_store
from pipelines.cli.serve import stored_bot
from tests.services.aviary.aviary_repository import add_broken, set_alias


def test_a_version_is_named_as_in_requests(mynah, workdir, tmp_path):
    add_version(workdir, 3.9)
    set_alias(workdir, "wren", "prüfung_9", 2)
    set_alias(workdir, "wren", "broken", add_broken(workdir, tmp_path / "none"))
    found = [stored_bot(workdir, address).version for address in ("wren", "wren@champion", "wren:2", "wren@prüfung_9")]
    assert found == ["1", "1", "2", "2"]
    for address, words in (
        ("wren@broken", "the files of wren version 3 are gone"),
        ("wren:3", "the files of wren version 3 are gone"),
        ("wren:9", "wren has no version 9"),
        ("wren@nobody", "wren has no nobody"),
        ("wrem@champion", "Did you mean 'wren'"),
        ("wren@", "NAME@ALIAS"),
    ):
        with pytest.raises(InputError, match=words):
            stored_bot(workdir, address)
    Registry(open_store(workdir)).client.delete_registered_model_alias("wren", "champion")
    with pytest.raises(InputError, match=r"wren has no champion\n.*mynah promote wren"):
        stored_bot(workdir, "wren")
    done = mynah("generate", "wren@challenger", "I like", "--seed", "1", "--json", "--workdir", workdir)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["texts"][0].startswith("I like")
