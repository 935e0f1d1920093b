"""The key file, in JSON or YAML. Errors name the entry and quote no secret; writes are atomic.

{"keys": [{"id": "3f2a91c0", "hash": "sha256:…", "tenant": "alice", "bots": ["wren", "w*"], "admin": false,
           "requests_per_minute": 60, "tokens_per_minute": 10000, "concurrent": 4, "created": "2026-11-24"}],
 "tenants": {"alice": {"requests_per_minute": 100}}}          # optional: limits for all keys of a tenant together
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

from mynah.core.errors import InputError, MynahError
from mynah.core.files import make_folder, storage_errors, sync
from serving.auth.api_keys import Key, KeyRing, Limits, log, not_found

MAX_KEYS = 10_000
MAX_FILE_BYTES = 8 << 20  # bytes
MAX_LIMIT = 1_000_000_000
LIMITS = tuple(limit.name for limit in fields(Limits))
FIELDS = ("id", "hash", "tenant", "bots", "admin", *LIMITS, "created")
ID = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
HASH = re.compile(r"sha256:[0-9a-f]{64}")
TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
PATTERN = re.compile(r"[a-z0-9*-]{1,40}")
FIX = "`mynah keys add` writes valid entries."


def read_keys(path: Path) -> KeyRing:
    """Return the keys of the key file. Raises InputError that names the invalid entry and field, and quotes no key and no hash."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise InputError(
            f"the key file {path} cannot be read: {error.strerror}", "Correct its name or its permissions."
        ) from error
    if len(content) > MAX_FILE_BYTES:
        raise InputError(f"the key file {path} is larger than {MAX_FILE_BYTES >> 20} MiB", "Is it the right file?")
    record = _parse(path, content)
    if not isinstance(record, dict) or not isinstance(record.get("keys"), list) or set(record) - {"keys", "tenants"}:
        raise InputError(f'{path} is not a key file: it has no list "keys", or other fields than "keys" and "tenants"', FIX)
    if len(record["keys"]) > MAX_KEYS:
        raise InputError(f"{path} has {len(record['keys']):,} keys; at most {MAX_KEYS:,} are allowed", "Revoke unused keys.")
    keys: dict[str, Key] = {}
    for number, entry in enumerate(record["keys"], 1):
        key = _key(entry, f"{path}, entry {number}")
        if key.id in keys:
            raise InputError(
                f"{path}, entry {number}: an earlier entry has the id {key.id!r} too", "Each key has an id of its own."
            )
        keys[key.id] = key
    return KeyRing(keys, _tenants(record.get("tenants", {}), path))


def _parse(path: Path, content: bytes) -> Any:  # noqa: ANN401 - what JSON and YAML hold
    """Parse the file. The parser's own message could quote the file, so errors name only the line."""
    if path.suffix.lower() in (".yaml", ".yml"):
        return _parse_yaml(path, content)
    try:
        return json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        line = f" (line {error.lineno})" if isinstance(error, json.JSONDecodeError) else ""
        raise InputError(f"{path} is not valid JSON{line}", "Correct it; the name of a YAML file ends in .yaml.") from None


def _parse_yaml(path: Path, content: bytes) -> Any:  # noqa: ANN401 - what YAML holds
    import yaml

    try:
        # The loader in C reads 10,000 keys in 1 s instead of 10 s, during which requests wait.
        return yaml.load(content, getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - both are safe loaders
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        raise InputError(f"{path} is not valid YAML{f' (line {mark.line + 1})' if mark else ''}", "Correct it.") from None


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


def _require(entry: dict[str, Any], name: str, is_valid: Callable[[str], object], what: str, where: str) -> None:
    if not isinstance(entry.get(name), str) or not is_valid(entry[name]):
        raise InputError(f"{where}: {name} must be {what}", FIX)


def _refuse_unknown(entry: dict[Any, Any], known: tuple[str, ...], where: str) -> None:
    for name in entry:
        if name not in known:
            shown = f" {name!r}" if isinstance(name, str) and re.fullmatch("[a-z_]{1,30}", name) else ""
            raise InputError(f"{where}: unknown field{shown}", f"Known: {', '.join(known)}.")


def _limits(entry: dict[str, Any], where: str) -> Limits:
    values = {name: entry.get(name) for name in LIMITS}
    for name, value in values.items():
        if value is not None and (type(value) is not int or not 1 <= value <= MAX_LIMIT):
            raise InputError(f"{where}: {name} must be a whole number from 1 to {MAX_LIMIT:,}", "Leave it out for no limit.")
    return Limits(**values)


def _tenants(record: object, path: Path) -> dict[str, Limits]:
    if not isinstance(record, dict) or len(record) > MAX_KEYS:
        raise InputError(f"{path}: tenants must be an object of limits by tenant", FIX)
    tenants = {}
    for name, limits in record.items():
        if not isinstance(name, str) or not TENANT.fullmatch(name) or not isinstance(limits, dict):
            raise InputError(f"{path}: tenants must be an object of limits by tenant", FIX)
        where = f"{path}, tenant {name!r}"
        _refuse_unknown(limits, LIMITS, where)
        tenants[name] = _limits(limits, where)
    return tenants


def add_key(path: Path, key: Key) -> None:
    """Add a key to the key file, and create the file if necessary.

    Args:
        path: the key file.
        key: the entry.

    Raises:
        InputError: the key or the file is invalid.
    """
    _key(_entry(key), "the new key")  # before anything is written
    with _locked(path) as ring:
        _write(path, KeyRing({**ring.keys, key.id: key}, ring.tenants))


def revoke_key(path: Path, identity: str) -> None:
    """Remove a key from the key file; a running server rejects it from then on.

    Args:
        path: the key file.
        identity: the key's id.

    Raises:
        InputError: no key has that id.
    """
    with _locked(path) as ring:
        if identity not in ring.keys:
            raise not_found(identity, ring)
        _write(path, KeyRing({other: key for other, key in ring.keys.items() if other != identity}, ring.tenants))


def limit_tenant(path: Path, tenant: str, limits: Limits) -> None:
    """Set the limits for all keys of a tenant together.

    Args:
        path: the key file.
        tenant: the tenant's name.
        limits: the limits.

    Raises:
        InputError: the file has no key of that tenant.
    """
    with _locked(path) as ring:
        known = sorted({key.tenant for key in ring.keys.values()})
        if tenant not in known:
            raise InputError(f"no key belongs to a tenant {tenant[:64]!r}", f"Known: {', '.join(known[:10]) or 'none'}.")
        _write(path, KeyRing(ring.keys, {**ring.tenants, tenant: limits}))


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[KeyRing]:
    """Yield the file's keys under a lock against other `mynah keys` commands."""
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
        sync(Path(scratch))
        Path(scratch).replace(target)
    except BaseException:
        Path(scratch).unlink(missing_ok=True)
        raise


class Keys:
    """The keys of a file, read again whenever it changes. Raises InputError when the first read fails."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file_stamp = _file_stamp(path)  # before the read: a change during it is noticed at the next access
        self._ring = self._read()

    @property
    def ring(self) -> KeyRing:
        """The current keys; while the file is invalid or missing, the last valid ones, and an error is logged."""
        stamp = _file_stamp(self._path)  # 2 µs, so that a revoked key is rejected at once
        if stamp != self._file_stamp:
            self._file_stamp = stamp
            try:
                self._ring = self._read()
            except MynahError as error:
                log.error("%s (the previous keys stay valid)", error.problem)
            else:
                log.info("%s was reloaded: %d keys", self._path.name, len(self._ring.keys))
        return self._ring

    def _read(self) -> KeyRing:
        return read_keys(self._path)


def _file_stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()  # follows links: Kubernetes updates a mounted Secret by replacing a link
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
