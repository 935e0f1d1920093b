"""An inference service of KServe, and the storage URIs in its spec."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

BOT_LABEL = "mynah.dev/bot"
URI_KEYS = ("storageUri", "storageUris")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An InferenceService: the bot in its label ("" for none), and every storage URI in its spec."""

    namespace: str
    name: str
    bot: str
    storage_uris: tuple[str, ...]
    uid: str = field(default="", compare=False)  # distinguishes objects of the same name

    @classmethod
    def from_json(cls, item: Mapping[str, Any]) -> "Endpoint":
        """Return the endpoint of an InferenceService, as the API server returns it."""
        metadata, uris = item["metadata"], tuple(dict.fromkeys(_uris(item.get("spec"))))
        return cls(
            metadata["namespace"],
            metadata["name"],
            (metadata.get("labels") or {}).get(BOT_LABEL, ""),
            uris,
            str(metadata.get("uid", "")),
        )

    def refers_to(self, uri: str) -> bool:
        """Return whether one of its URIs is, contains or is below `uri`. Both are folders: `bots/1` does not contain `bots/10`."""
        folder = storage_uri(uri)
        return any(own.startswith(folder) or folder.startswith(own) for own in map(storage_uri, self.storage_uris))


def _uris(part: object, key: str = "") -> Iterator[str]:
    """Yield every storage URI in the part of an InferenceService's spec under `key`."""
    if isinstance(part, str) and part and key in URI_KEYS:
        yield part
    elif isinstance(part, list):
        for item in part:
            yield from _uris(item, key)
    elif isinstance(part, dict):
        if key == "env" and part.get("name") == "STORAGE_URI":  # how a custom container requests a model
            yield from _uris(part.get("value"), "storageUri")
        for name, value in part.items():
            yield from _uris(value, "storageUri" if (key, name) == ("storageUris", "uri") else name)


def storage_uri(uri: str) -> str:
    """Return the address of a folder as a `storageUri`, with one slash at its end.

    KServe downloads every key that begins with it: without the slash, `bots/1` includes `bots/10`.
    """
    return f"{uri.rstrip('/')}/"
