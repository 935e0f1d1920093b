"""The signed receipt of what was forgotten: it proves that it is genuine, and lists what must still be gone.

Only functions import cryptography, which is of the extra `tracking`: most commands need no key.
"""

import base64
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mynah.core.errors import InputError
from mynah.core.files import make_folder, storage_errors
from mynah.core.settings import MYNAH_RECEIPT_KEY_FILE
from mynah.maintenance.erasers import ErasableItem

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

KEY_FILE = "receipt-key.pem"
FORMAT = "mynah-receipt-1"


@dataclass(frozen=True, slots=True)
class Erased:
    """An erased item, and when it was confirmed to be gone (ISO 8601, UTC)."""

    item: ErasableItem
    gone_at: str


def signed(key: "Ed25519PrivateKey", facts: dict[str, Any], erased: Sequence[Erased]) -> dict[str, Any]:
    """Create a receipt, signed with Ed25519 (RFC 8032).

    Args:
        key: The signing key.
        facts: What was forgotten, when and where, as JSON.
        erased: The items that were erased.

    Returns:
        The receipt as a JSON object, with its public key and signature.
    """
    body = {"format": FORMAT, **facts, "items": [{**asdict(item.item), "gone_at": item.gone_at} for item in erased]}
    body["public_key"] = base64.b64encode(key.public_key().public_bytes_raw()).decode()
    return {**body, "signature": base64.b64encode(key.sign(_bytes(body))).decode()}


def read(path: Path) -> dict[str, Any]:
    """Read a receipt and verify its signature. Raises InputError when it is invalid or was changed."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        record = json.loads(path.read_text("utf-8"))
        body = {key: value for key, value in record.items() if key != "signature"}
        if body["format"] != FORMAT:
            raise InputError(
                f"{path} is a receipt of format {str(body['format'])[:40]!r}", "Check it with the Mynah that wrote it."
            )
        public = Ed25519PublicKey.from_public_bytes(base64.b64decode(body["public_key"]))
        public.verify(base64.b64decode(record["signature"]), _bytes(body))
        items(body)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}", "Name a receipt that `mynah forget` wrote.") from error
    except InvalidSignature as error:
        raise InputError(f"{path} was changed since it was signed", "Ask for the receipt as it was written.") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{path} is not a valid receipt ({error})", "Name a receipt that `mynah forget` wrote.") from error
    return dict(record)


def require_place(path: Path, to_erase: Sequence[ErasableItem] = ()) -> None:
    """Raise InputError where a receipt cannot stay at `path`: something else is there, or the place is about to be erased.

    Args:
        path: The file to write.
        to_erase: What is erased before the receipt is written.
    """
    fix = "Name another file with --receipt."
    erased = {item.address for item in to_erase if item.kind == "file"}
    if any(str(place) in erased for place in (path.absolute(), path.resolve(), *path.resolve().parents)):
        raise InputError(f"the receipt {path} would lie in what is erased", fix)
    if path.exists() and (path.is_dir() or (path.stat().st_size and not _is_receipt(path))):
        raise InputError(f"{path} exists and is not a receipt, which must not replace it", fix)


def _is_receipt(path: Path) -> bool:
    try:
        record = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(record, dict) and record.get("format") == FORMAT


def items(record: dict[str, Any]) -> list[ErasableItem]:
    """Return the items that a receipt lists as erased."""
    return [ErasableItem(*(str(item[name]) for name in ("kind", "address", "digest", "version"))) for item in record["items"]]


def fingerprint(record: dict[str, Any]) -> str:
    """Return the first digits of the SHA-256 of the signing key: compare it with `mynah receipt` on the machine that issued the receipt."""
    return hashlib.sha256(base64.b64decode(record["public_key"])).hexdigest()[:16]


def signing_key(folder: Path) -> "Ed25519PrivateKey":
    """Load the key of MYNAH_RECEIPT_KEY_FILE, else that of the work folder, created on first use. Raises InputError for an invalid file."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    named = MYNAH_RECEIPT_KEY_FILE.get()
    path = named or folder / KEY_FILE
    if not path.exists() and not named:
        _create_key(path)
    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{path} is not a private key ({error})", "Create one: openssl genpkey -algorithm ed25519") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise InputError(f"{path} is a key of another kind than Ed25519", "Create one: openssl genpkey -algorithm ed25519")
    return key


def _create_key(path: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    make_folder(path.parent)
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    with storage_errors(path):
        handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(pem)
        partial.replace(path)


def _bytes(body: dict[str, Any]) -> bytes:
    """Return the canonical bytes of a JSON object: sorted keys, no blanks, UTF-8."""
    return json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()
