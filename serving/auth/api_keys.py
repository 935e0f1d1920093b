"""API keys: which bots a client may query, and how much.

A key is `mynah_ID_SECRET`, where SECRET is 32 random bytes. The key file (in a cluster, a mounted Secret) holds the SHA-256 of
whole keys and never a key. A fast hash suffices: bcrypt and similar functions slow down the guessing of passwords that people chose,
but 256 random bits cannot be guessed, and a slow hash would cost 100 ms per request and let anybody keep the server busy.
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

from mynah.core.errors import InputError

MAX_KEY_LENGTH = 200  # characters; generated keys have at most 88
KEY = re.compile(r"mynah_([a-z0-9][a-z0-9-]{0,39})_[A-Za-z0-9_-]+")
UNKNOWN_KEY_HASH = f"sha256:{'0' * 64}"  # compared with unknown keys, so that these take as long as known ones
log = logging.getLogger("mynah.keys")


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits on requests per minute, generated tokens per minute and concurrent requests; None sets no limit."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrent: int | None = None


@dataclass(frozen=True, slots=True)
class Key:
    """One entry of the key file. `bots` are names, or patterns with `*`."""

    id: str
    hash: str = field(repr=False)
    tenant: str
    bots: tuple[str, ...] = ()
    admin: bool = False
    limits: Limits = Limits()
    created: str = ""  # the date, for display only


@dataclass(frozen=True, slots=True)
class KeyRing:
    """The keys by id, and the limits for all keys of a tenant together, by the tenant's name."""

    keys: Mapping[str, Key]
    tenants: Mapping[str, Limits]

    def find(self, presented: str) -> Key | None:
        """Return the entry of the presented key, or None. An unknown id takes as long as a wrong secret."""
        parts = KEY.fullmatch(presented) if len(presented) <= MAX_KEY_LENGTH else None
        key = self.keys.get(parts[1]) if parts else None
        is_same = hmac.compare_digest(key.hash if key else UNKNOWN_KEY_HASH, hash_of(presented[:MAX_KEY_LENGTH]))
        return key if is_same else None


def hash_of(key: str) -> str:
    """Return the hash of a whole key, as the key file stores it."""
    return f"sha256:{hashlib.sha256(key.encode('utf-8', 'surrogatepass')).hexdigest()}"


def new_key(tenant: str, bots: Iterable[str], admin: bool, limits: Limits, created: str) -> tuple[Key, str]:
    """Create a key.

    Args:
        tenant: the tenant that it belongs to.
        bots: the bots that it can query: names, or patterns with `*`.
        admin: whether it can load and unload bots.
        limits: the limits of this key alone.
        created: today's date.

    Returns:
        The entry for the key file and the key itself, which is stored nowhere.
    """
    identity = secrets.token_hex(4)
    secret = base64.urlsafe_b64encode(secrets.token_bytes(32)).rstrip(b"=").decode()
    presented = f"mynah_{identity}_{secret}"
    return Key(identity, hash_of(presented), tenant, tuple(bots), admin, limits, created), presented


def matches(patterns: Iterable[str], address: str) -> bool:
    """Whether a pattern matches a bot.

    Args:
        patterns: names, or patterns with `*`.
        address: the bot's address: wren, wren:3 or wren@challenger.
    """
    name = re.split("[@:]", address, maxsplit=1)[0]
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def not_found(identity: str, ring: KeyRing) -> InputError:
    """Return the error for an unknown key id. The message quotes only what can be an id, because users may paste a key."""
    shown_id = f" {identity!r}" if re.fullmatch("[a-z0-9-]{1,40}", identity) else ""
    known = ", ".join(sorted(ring.keys)[:10]) or "there are none"
    return InputError(f"there is no key{shown_id}", f"Name its id, the part between the underscores ({known}).")
