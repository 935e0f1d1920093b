"""The file of API keys as people make it, edit it and break it, and a server that follows it."""

import json
import logging
import re
import stat
import threading

import pytest

from mynah.core.errors import InputError
from serving.auth.api_keys import Limits
from serving.auth.key_file import Keys, read_keys
from tests.services.auth.auth_keys import identity_of


def test_a_key_is_shown_once_and_only_its_hash_is_kept(add, key_file, mynah):
    key = add("--bot", "wren")
    assert re.fullmatch(r"mynah_[0-9a-f]{8}_[A-Za-z0-9_-]{43}", key)
    listed = mynah("keys", "list", "--file", key_file)
    secret = key.split("_", 2)[2]
    assert identity_of(key) in listed.stdout
    for told in (key_file.read_text(), *listed, mynah("keys", "list", "--json", "--file", key_file).stdout):
        assert secret not in str(told)
    assert "sha256:" not in mynah("keys", "list", "--json", "--file", key_file).stdout
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600


def test_two_keys_made_at_once_are_both_kept(key_file):
    from serving.auth.api_keys import new_key
    from serving.auth.key_file import add_key

    made = [new_key("alice", ["wren"], False, Limits(), "")[0] for _ in range(8)]
    threads = [threading.Thread(target=add_key, args=(key_file, key)) for key in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(read_keys(key_file).keys) == {key.id for key in made}


def test_a_yaml_file_is_read_and_written(tmp_path, mynah):
    file = tmp_path / "keys.yaml"
    key = mynah("keys", "add", "--file", file, "--tenant", "alice", "--bot", "w*").stdout.strip()
    assert file.read_text().startswith("keys:\n")
    assert Keys(file).ring.find(key).bots == ("w*",)


def test_a_revoked_key_is_refused_at_once_and_a_new_one_taken(add, serve, key_file, mynah):
    first = add("--bot", "wren")
    with serve() as server:
        assert server.ask(key=first).status_code == 200
        second = add("--bot", "wren")
        assert server.ask(key=second).status_code == 200
        assert mynah("keys", "revoke", identity_of(first), "--file", key_file).returncode == 0
        assert server.ask(key=first).status_code == 401
        assert server.ask(key=second).status_code == 200
        mynah("keys", "revoke", identity_of(second), "--file", key_file)
        assert server.ask(key=second).status_code == 401  # no key left: nobody, not everybody


def test_a_broken_edit_keeps_the_keys_and_says_so_once(add, serve, key_file, caplog):
    key = add("--bot", "wren")
    whole = key_file.read_text()
    with serve() as server, caplog.at_level(logging.INFO, "mynah"):
        for broken in (whole[:-5], whole.replace("sha256:", "sha512:"), "[]"):
            caplog.clear()
            key_file.write_text(broken)
            assert server.ask(key=key).status_code == 200
            assert server.ask(key=key).status_code == 200
            assert len([line for line in caplog.messages if "stay valid" in line]) == 1
            assert whole.split('"hash": "')[1][:71] not in caplog.text
        caplog.clear()
        key_file.unlink()
        assert server.ask(key=key).status_code == 200
        assert "cannot be read" in caplog.text
        key_file.write_text('{"keys": []}')
        assert server.ask(key=key).status_code == 401


def test_a_secret_that_kubernetes_mounts_is_followed(add, key_file, tmp_path):
    first = add("--bot", "wren")
    for number in (1, 2):
        (tmp_path / f"data{number}").mkdir()
    (tmp_path / "data1/keys.json").write_text(key_file.read_text())
    (tmp_path / "data2/keys.json").write_text('{"keys": []}')
    (tmp_path / "..data").symlink_to("data1")
    (tmp_path / "mounted.json").symlink_to("..data/keys.json")
    keys = Keys(tmp_path / "mounted.json")
    assert keys.ring.find(first)
    (tmp_path / "..data_tmp").symlink_to("data2")
    (tmp_path / "..data_tmp").replace(tmp_path / "..data")
    assert keys.ring.find(first) is None


GOOD = {"id": "a1", "hash": "sha256:" + "5" * 64, "tenant": "alice", "bots": ["wren"]}
SECRET = "mynah_a1_U2VjcmV0U2VjcmV0U2VjcmV0"


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({"hash": SECRET}, "hash"),
        ({"hash": None}, "hash"),
        ({"id": SECRET}, "id"),
        ({"id": 7}, "id"),
        ({"tenant": "a b"}, "tenant"),
        ({"tenant": "a\nb"}, "tenant"),
        ({"bots": "wren"}, "bots"),
        ({"bots": ["../etc"]}, "bots"),
        ({"bots": [SECRET]}, "bots"),
        ({"admin": "yes"}, "admin"),
        ({"requests_per_minute": 0}, "requests_per_minute"),
        ({"tokens_per_minute": 1.5}, "tokens_per_minute"),
        ({"concurrent": True}, "concurrent"),
        ({"concurent": 1}, "concurent"),
        ({SECRET: 1}, "unknown field"),
    ],
)
def test_an_error_names_the_entry_and_shows_no_secret(key_file, entry, told):
    key_file.write_text(json.dumps({"keys": [{**GOOD, "id": "a0"}, {**GOOD, **entry}]}))
    with pytest.raises(InputError) as error:
        read_keys(key_file)
    assert "entry 2" in str(error.value)
    assert told in str(error.value)
    assert SECRET not in str(error.value)
    assert "5" * 64 not in str(error.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("k.json", ""), ("k.json", "[]"), ("k.json", '{"keys": {}}'), ("k.json", '{"keys": [7]}'), ("k.json", "[" * 100_000),
        ("k.json", '{"keys": [], "more": 1}'), ("k.json", "\xff"), ("k.json", '{"keys": [], "tenants": []}'),
        ("k.json", '{"keys": [], "tenants": {"alice": {"concurrent": -1}}}'), ("k.json", json.dumps({"keys": [GOOD, GOOD]})),
        ("k.yaml", f"keys: [{SECRET}: {{"), ("k.yaml", "keys: 2026-13-45"), ("k.yaml", "!!python/object/apply:os.getcwd []"),
    ],
)  # fmt: skip
def test_what_is_no_key_file_is_told_in_words(tmp_path, name, content):
    (tmp_path / name).write_bytes(content.encode("latin-1"))
    with pytest.raises(InputError) as error:
        Keys(tmp_path / name)
    assert name in str(error.value)
    assert SECRET not in str(error.value)


def test_commands_refuse_what_makes_no_sense(add, mynah, key_file, tmp_path):
    key = add("--bot", "wren")
    before = key_file.read_text()
    for arguments in (
        ("add", "--tenant", "alice"),
        ("add", "--tenant", "a b", "--bot", "wren"),
        ("add", "--tenant", "alice", "--bot", "Wren!"),
        ("revoke", "ffffffff"),
        ("revoke", key),  # the key instead of its id: it is not repeated
        ("limit", "nobody", "--concurrent", "2"),
    ):
        code, out, err = mynah("keys", *arguments, "--file", key_file)
        assert (code, out) == (2, "")
        assert err.startswith("error: ")
        assert key not in err
    assert key_file.read_text() == before
    assert mynah("keys", "list", "--file", tmp_path / "none.json").returncode == 2
