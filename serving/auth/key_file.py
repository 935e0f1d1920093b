"""The key file, JSON or YAML: read with errors that name the entry and never what is secret, written all or nothing.

{"keys": [{"id": "3f2a91c0", "hash": "sha256:…", "tenant": "alice", "bots": ["wren", "w*"], "admin": false,
           "requests_per_minute": 60, "tokens_per_minute": 10000, "concurrent": 4, "created": "2026-11-24"}],
 "tenants": {"alice": {"requests_per_minute": 100}}}          # optional: what all keys of a tenant may ask together
"""

import contextlib
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from components.errors import InputError
from components.files import make_folder, storage_errors
from serving.doors.keys import Key, KeyRing, Limits, not_found

MOST_KEYS = 10_000
LARGEST_FILE = 8 << 20  # bytes
LARGEST_LIMIT = 1_000_000_000
LIMITS = tuple(limit.name for limit in fields(Limits))
FIELDS = ("id", "hash", "tenant", "bots", "admin", *LIMITS, "created")
ID = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
HASH = re.compile(r"sha256:[0-9a-f]{64}")
TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
PATTERN = re.compile(r"[a-z0-9*-]{1,40}")
FIX = "`mynah keys add` writes entries that are right."


def read_keys(path: Path) -> KeyRing:
    """Read the file. Raises InputError that names the entry and the field, and shows no key and no hash."""
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise InputError(
            f"the key file {path} cannot be read: {error.strerror}", "Correct its name or its permissions."
        ) from error
    if len(content) > LARGEST_FILE:
        raise InputError(f"the key file {path} is larger than {LARGEST_FILE >> 20} MiB", "Is it the right file?")
    found = _parsed(path, content)
    if not isinstance(found, dict) or not isinstance(found.get("keys"), list) or set(found) - {"keys", "tenants"}:
        raise InputError(f'{path} is no key file: it has no list "keys", or more than "keys" and "tenants"', FIX)
    if len(found["keys"]) > MOST_KEYS:
        raise InputError(f"{path} has {len(found['keys']):,} keys; the most is {MOST_KEYS:,}", "Revoke those that nobody uses.")
    keys: dict[str, Key] = {}
    for number, entry in enumerate(found["keys"], 1):
        key = _key(entry, f"{path}, entry {number}")
        if key.id in keys:
            raise InputError(
                f"{path}, entry {number}: an earlier entry has the id {key.id!r} too", "Each key has an id of its own."
            )
        keys[key.id] = key
    return KeyRing(keys, _tenants(found.get("tenants", {}), path))


def _parsed(path: Path, content: bytes) -> Any:  # noqa: ANN401 - what JSON and YAML hold
    """The parsed file; a parser's own message could quote the file, so only the line is told."""
    if path.suffix.lower() in (".yaml", ".yml"):
        return _parsed_yaml(path, content)
    try:
        return json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        line = f" (line {error.lineno})" if isinstance(error, json.JSONDecodeError) else ""
        raise InputError(f"{path} is not valid JSON{line}", "Mend it; a YAML file's name ends with .yaml.") from None


def _parsed_yaml(path: Path, content: bytes) -> Any:  # noqa: ANN401 - what YAML holds
    import yaml

    try:
        # The one in C reads 10,000 keys in a second instead of ten, while requests wait.
        return yaml.load(content, getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - both are safe loaders
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        raise InputError(f"{path} is not valid YAML{f' (line {mark.line + 1})' if mark else ''}", "Mend it.") from None


def _key(entry: object, where: str) -> Key:
    if not isinstance(entry, dict):
        raise InputError(f"{where} is not an object", FIX)
    identity = entry.get("id")
    if not isinstance(identity, str) or not ID.fullmatch(identity):
        raise InputError(f"{where}: id must be a-z, 0-9 and hyphens, 40 characters at most, as text", FIX)
    where = f"{where} (id {identity!r})"
    _refuse_unknown(entry, FIELDS, where)
    _require(entry, "hash", HASH.fullmatch, "sha256: and 64 hexadecimal digits; never the key itself", where)
    _require(entry, "tenant", TENANT.fullmatch, "a name of letters, digits and ._@-, 64 characters at most", where)
    bots = entry.get("bots", [])
    if not isinstance(bots, list) or not all(isinstance(bot, str) and PATTERN.fullmatch(bot) for bot in bots):
        raise InputError(f'{where}: bots must be a list of names or patterns, such as ["wren", "w*"]', FIX)
    if not isinstance(entry.get("admin", False), bool):
        raise InputError(f"{where}: admin must be true or false", FIX)
    admin, created = entry.get("admin", False), str(entry.get("created", ""))[:10]
    return Key(identity, entry["hash"], entry["tenant"], tuple(bots), admin, _limits(entry, where), created)


def _require(entry: dict[str, Any], name: str, fits: Callable[[str], object], what: str, where: str) -> None:
    if not isinstance(entry.get(name), str) or not fits(entry[name]):
        raise InputError(f"{where}: {name} must be {what}", FIX)


def _refuse_unknown(entry: dict[Any, Any], known: tuple[str, ...], where: str) -> None:
    for name in entry:
        if name not in known:
            shown = f" {name!r}" if isinstance(name, str) and re.fullmatch("[a-z_]{1,30}", name) else ""
            raise InputError(f"{where}: unknown field{shown}", f"Known: {', '.join(known)}.")


def _limits(entry: dict[str, Any], where: str) -> Limits:
    found = {name: entry.get(name) for name in LIMITS}
    for name, value in found.items():
        if value is not None and (type(value) is not int or not 1 <= value <= LARGEST_LIMIT):
            raise InputError(f"{where}: {name} must be a whole number from 1 to {LARGEST_LIMIT:,}", "Leave it out for no limit.")
    return Limits(**found)


def _tenants(found: object, path: Path) -> dict[str, Limits]:
    if not isinstance(found, dict) or len(found) > MOST_KEYS:
        raise InputError(f"{path}: tenants must be an object of limits by tenant", FIX)
    tenants = {}
    for name, limits in found.items():
        if not isinstance(name, str) or not TENANT.fullmatch(name) or not isinstance(limits, dict):
            raise InputError(f"{path}: tenants must be an object of limits by tenant", FIX)
        where = f"{path}, tenant {name!r}"
        _refuse_unknown(limits, LIMITS, where)
        tenants[name] = _limits(limits, where)
    return tenants


def add_key(path: Path, key: Key) -> None:
    """Write `key` into the file, which is made where there is none. Raises InputError when it, or the file, is wrong."""
    _key(_entry(key), "the new key")  # before anything is written
    with _changing(path) as ring:
        _write(path, KeyRing({**ring.keys, key.id: key}, ring.tenants))


def revoke_key(path: Path, identity: str) -> None:
    """Take a key out of the file; a running server refuses it from then on. Raises InputError when there is none of that id."""
    with _changing(path) as ring:
        if identity not in ring.keys:
            raise not_found(identity, ring)
        _write(path, KeyRing({other: key for other, key in ring.keys.items() if other != identity}, ring.tenants))


def limit_tenant(path: Path, tenant: str, limits: Limits) -> None:
    """Set what all keys of a tenant may ask together. Raises InputError when the file has no key of that tenant."""
    with _changing(path) as ring:
        known = sorted({key.tenant for key in ring.keys.values()})
        if tenant not in known:
            raise InputError(f"no key belongs to a tenant {tenant[:64]!r}", f"Known: {', '.join(known[:10]) or 'none'}.")
        _write(path, KeyRing(ring.keys, {**ring.tenants, tenant: limits}))


@contextlib.contextmanager
def _changing(path: Path) -> Iterator[KeyRing]:
    """The file's keys, while no other `mynah keys` changes it."""
    from filelock import FileLock

    make_folder(path.parent)
    with storage_errors(path), FileLock(path.with_name(f".{path.name}.lock")):
        yield read_keys(path) if path.exists() else KeyRing({}, {})


def _entry(key: Key) -> dict[str, Any]:
    flat = {**asdict(key), **asdict(key.limits), "bots": list(key.bots)}
    return {name: flat[name] for name in FIELDS if flat[name] not in (None, "")}


def _write(path: Path, ring: KeyRing) -> None:
    record: dict[str, Any] = {"keys": [_entry(key) for key in ring.keys.values()]}
    if ring.tenants:
        record["tenants"] = {
            name: {limit: value for limit, value in asdict(limits).items() if value} for name, limits in ring.tenants.items()
        }
    if path.suffix.lower() in (".yaml", ".yml"):
        import yaml

        text = yaml.safe_dump(record, sort_keys=False)
    else:
        text = json.dumps(record, indent=2) + "\n"
    target = path.resolve()  # a link stays a link
    handle, scratch = tempfile.mkstemp(prefix=f".{target.name}.tmp-", dir=target.parent)  # mode 0600
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(scratch).replace(target)
    except BaseException:
        Path(scratch).unlink(missing_ok=True)
        raise
