"""The receipt of what was forgotten: signed, so that it can be checked later that it is genuine, and that all of it is still gone."""

import base64
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.erase import Item
from components.errors import InputError
from components.files import make_folder, storage_errors

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

KEY_FILE = "receipt-key.pem"
FORMAT = "mynah-receipt-1"


@dataclass(frozen=True, slots=True)
class Erased:
    """An item that was erased, and when it was seen to be gone (ISO 8601, UTC)."""

    item: Item
    gone_at: str


def signed(key: "Ed25519PrivateKey", facts: dict[str, Any], erased: Sequence[Erased]) -> dict[str, Any]:
    """A receipt over `facts` and everything that was erased, signed with Ed25519 (RFC 8032)."""
    body = {"format": FORMAT, **facts, "items": [{**asdict(each.item), "gone_at": each.gone_at} for each in erased]}
    body["public_key"] = base64.b64encode(key.public_key().public_bytes_raw()).decode()
    return {**body, "signature": base64.b64encode(key.sign(_bytes(body))).decode()}


def read(path: Path) -> dict[str, Any]:
    """Read a receipt and check its signature. Raises InputError when it is none, or was changed."""
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
        raise InputError(f"{path} is no receipt ({error})", "Name a receipt that `mynah forget` wrote.") from error
    return dict(record)


def items(record: dict[str, Any]) -> list[Item]:
    """What a receipt says was erased."""
    return [Item(*(str(each[name]) for name in ("kind", "address", "digest", "version"))) for each in record["items"]]


def fingerprint(record: dict[str, Any]) -> str:
    """The first digits of the SHA-256 of the key that signed: compare it with `mynah receipt` on the machine that forgot."""
    return hashlib.sha256(base64.b64decode(record["public_key"])).hexdigest()[:16]


def signing_key(folder: Path) -> "Ed25519PrivateKey":
    """The key of MYNAH_RECEIPT_KEY_FILE, else that of the work folder, made at first use. Raises InputError for a file that is none."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    named = os.environ.get("MYNAH_RECEIPT_KEY_FILE", "")
    path = Path(named) if named else folder / KEY_FILE
    if not path.exists() and not named:
        _make_key(path)
    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{path} is no private key ({error})", "Make one: openssl genpkey -algorithm ed25519") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise InputError(f"{path} is a key of another kind than Ed25519", "Make one: openssl genpkey -algorithm ed25519")
    return key


def _make_key(path: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    make_folder(path.parent)
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    half = path.with_name(f".{path.name}.{os.getpid()}")
    with storage_errors(path):
        handle = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(pem)
        half.replace(path)


def _bytes(body: dict[str, Any]) -> bytes:
    """One spelling of a JSON object: sorted keys, no blanks, UTF-8."""
    return json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()
