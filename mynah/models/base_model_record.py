"""The base model of a fine-tuned one, as training.json holds it."""

from dataclasses import asdict, dataclass
from typing import Any

from mynah.core.json_reader import JsonField
from mynah.models.catalogue import find
from mynah.models.licenses import UNKNOWN

FIRST_FAMILY = "gpt2"  # the only architecture before records noted it


@dataclass(frozen=True, slots=True)
class BaseModelRecord:
    """The base model that was fine-tuned.

    Attributes:
        name: Its name in the catalogue or on the hub, or the name of its folder.
        digest: Of its weights.
        revision: Its commit on the hub, or the version of the Python package that it comes in; "" for a folder, None where it was not noted.
        license: The id of its licence, "unknown" where it names none; "" where it was not noted.
        family: Its architecture, config.json's model_type.
    """

    name: str
    digest: str
    revision: str | None = None
    license: str = ""
    family: str = FIRST_FAMILY

    @property
    def is_folder(self) -> bool:
        """Whether it was a folder, which may be named like another model."""
        return self.revision == "" and not ((entry := find(self.name)) and entry.source.kind == "bundled")

    @property
    def known_license(self) -> str:
        """The id of its licence; where an earlier version did not note it, that of the catalogue's model of this name, or UNKNOWN."""
        entry = None if self.is_folder else find(self.name)
        return self.license or (entry.license if entry else UNKNOWN)

    def to_record(self) -> dict[str, Any]:
        """The base model as training.json holds it."""
        record = asdict(self)
        return record if self.license else {name: value for name, value in record.items() if name not in ("license", "family")}

    @classmethod
    def from_json(cls, base: JsonField) -> "BaseModelRecord":
        """The base model in a JSON object. Raises InputError naming the field that is missing or has the wrong type."""
        revision = base.get("revision")
        return cls(
            name=base["name"].text(),
            digest=base["digest"].text(),
            revision=None if revision.value is None else revision.text(),
            license=base.get("license").text(),
            family=base.get("family").text() or FIRST_FAMILY,
        )
