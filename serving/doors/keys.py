"""API keys: who may ask which bots, and how much.

A key is `mynah_ID_SECRET`, where SECRET is 32 random bytes. The key file (in a cluster: a mounted Secret) holds the SHA-256 of
whole keys and never a key. A fast hash is right here: bcrypt and its kin slow down the guessing of passwords that people chose,
and nobody guesses 256 random bits, while a slow hash would cost every request 100 ms and hand strangers a way to keep the server busy.
"""

import base64
import fnmatch
import hashlib
import hmac
import logging
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from components.errors import InputError, MynahError

LONGEST_KEY = 200  # characters; ours have 88 at most
KEY = re.compile(r"mynah_([a-z0-9][a-z0-9-]{0,39})_[A-Za-z0-9_-]+")
NOBODY = f"sha256:{'0' * 64}"  # what an unknown key is compared with, so that it takes as long as a known one
log = logging.getLogger("mynah.keys")


@dataclass(frozen=True, slots=True)
class Limits:
    """How much may be asked: requests and generated tokens a minute, and requests at the same time. None: without limit."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrent: int | None = None


@dataclass(frozen=True, slots=True)
class Key:
    """What the key file says about one key. `bots` are names, or patterns with `*`."""

    id: str
    hash: str = field(repr=False)
    tenant: str
    bots: tuple[str, ...] = ()
    admin: bool = False
    limits: Limits = Limits()
    created: str = ""  # a date, for people


@dataclass(frozen=True, slots=True)
class KeyRing:
    """The keys by their ids, and what all keys of a tenant may ask together, by the tenant's name."""

    keys: Mapping[str, Key]
    tenants: Mapping[str, Limits]

    def find(self, presented: str) -> Key | None:
        """The key that `presented` is, or None. Takes as long for an unknown id as for a wrong secret."""
        parts = KEY.fullmatch(presented) if len(presented) <= LONGEST_KEY else None
        key = self.keys.get(parts[1]) if parts else None
        same = hmac.compare_digest(key.hash if key else NOBODY, hash_of(presented[:LONGEST_KEY]))
        return key if same else None


class Keys:
    """The keys of a file, read again whenever it changes. Raises InputError when it cannot be read at first."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp = _stamp(path)  # before the file is read: what changes meanwhile is seen at the next look
        self._ring = self._read()

    @property
    def ring(self) -> KeyRing:
        """The keys as they are now; as they were, with a line in the log, while the file is broken or away."""
        stamp = _stamp(self._path)  # 2 µs, and what is revoked is revoked at once
        if stamp != self._stamp:
            self._stamp = stamp
            try:
                self._ring = self._read()
            except MynahError as error:
                log.error("%s (the keys from before stay in force)", error.problem)
            else:
                log.info("%s was read again: %d keys", self._path.name, len(self._ring.keys))
        return self._ring

    def _read(self) -> KeyRing:
        from serving.doors.key_file import read_keys

        return read_keys(self._path)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()  # through links: Kubernetes changes a Secret by turning one
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def hash_of(key: str) -> str:
    """What the file keeps of a whole key."""
    return f"sha256:{hashlib.sha256(key.encode('utf-8', 'surrogatepass')).hexdigest()}"


def new_key(tenant: str, bots: Iterable[str], admin: bool, limits: Limits, created: str) -> tuple[Key, str]:
    """A fresh key as the file keeps it, and the key itself, which exists nowhere else."""
    identity = secrets.token_hex(4)
    secret = base64.urlsafe_b64encode(secrets.token_bytes(32)).rstrip(b"=").decode()
    presented = f"mynah_{identity}_{secret}"
    return Key(identity, hash_of(presented), tenant, tuple(bots), admin, limits, created), presented


def matches(patterns: Iterable[str], address: str) -> bool:
    """Whether one of `patterns` is, or by `*` stands for, the bot at `address`: wren, wren:3 or wren@challenger."""
    name = re.split("[@:]", address, maxsplit=1)[0]
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def not_found(identity: str, ring: KeyRing) -> InputError:
    """The error of who names a key that is not there. Shows what was given only if it can be an id: it may be a key."""
    shown = f" {identity!r}" if re.fullmatch("[a-z0-9-]{1,40}", identity) else ""
    known = ", ".join(sorted(ring.keys)[:10]) or "there are none"
    return InputError(f"there is no key{shown}", f"Name its id, the part between the underscores ({known}).")
