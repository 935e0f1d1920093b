"""Decide whether a base model's licence allows publishing, and make the files that it asks for."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mynah.core.errors import GateRefused, InputError
from mynah.core.files import path_exists, write_text
from mynah.models.catalogue import find, licenses
from mynah.models.licenses import MAX_BYTES, UNKNOWN, license_id
from mynah.registry.card_files import BASE_LICENSE_FILE, BASE_NOTICE_FILE, NOTICE_FILE
from mynah.registry.versions import BotVersion

BASE_LICENSE_TAG = "mynah.base_license"
VAGUE = ("", UNKNOWN, "other")


@dataclass(frozen=True, slots=True)
class LicenseAnswer:
    """What a person says of the base model's licence: its id where nothing records it, and a file with its text; "" and None for nothing."""

    license: str = ""
    text: Path | None = None

    def __post_init__(self) -> None:
        if self.license and (license_id(self.license) != self.license or self.license in VAGUE):
            raise InputError(f"{self.license[:80]!r} is not a licence's id", "Write one of the hub's, such as apache-2.0 or mit.")
        if self.text and not (path_exists(self.text) and self.text.is_file() and self.text.stat().st_size <= MAX_BYTES):
            raise InputError(f"{self.text} is no file with a licence's text", "Name a text file of 1 MB at most.")


def require_license(version: BotVersion, repository: str, answer: LicenseAnswer) -> str:
    """Return the id of the licence of a version's base model.

    Args:
        version: The version.
        repository: ORG/NAME, where it goes.
        answer: What the person says of the licence.

    Raises:
        GateRefused: It is not known, forbids derivatives, or asks for another name.
        InputError: The answer contradicts what is recorded.
    """
    what, found = f"{version.name} version {version.version}", recorded_license(version)
    if answer.license and found not in VAGUE and answer.license != found:
        raise InputError(f"the base model of {what} is under {found}, not {answer.license}", "Leave out --license.")
    if found in VAGUE and not answer.license:
        base = version.tags.get("mynah.base_model", "a model that is not recorded")
        raise GateRefused(
            f"{what} is not published: the licence of its base model, {base}, is not known",
            "Read it where the base model came from, and if it allows sharing, name it: --license apache-2.0, for example.",
        )
    found = answer.license or found
    known = licenses().get(found)
    if known and not known.derivatives:
        raise GateRefused(
            f"{what} is not published: the {known.name} of its base model forbids sharing models made from it",
            f"Train it from another base model (`mynah bases`). The licence: {known.url}",
        )
    if known and not known.allows_name(repository.partition("/")[2]):
        owner, _, name = repository.partition("/")
        raise GateRefused(
            f"{what} is not published: the {known.name} wants a name that begins with {known.name_begins!r}, and this one is {name!r}",
            f"Publish it as --to hub:{owner}/{known.name_begins.replace(' ', '-')}-{name}.",
        )
    return found


def recorded_license(version: BotVersion) -> str:
    """The licence in a version's tags; of an earlier version of Mynah, that of the catalogue's model of the same name; "" where unknown."""
    entry = find(version.tags.get("mynah.base_model", ""))
    return version.tags.get(BASE_LICENSE_TAG, "") or (entry.license if entry else "")


def license_additions(
    version: BotVersion, base_license: str, answer: LicenseAnswer, files: Mapping[str, Path], scratch: Path
) -> dict[str, Path]:
    """Return the files that the licence asks for, as paths by name: its text, and the notices.

    Args:
        version: The version.
        base_license: The licence's id.
        answer: What the person says of it.
        files: The files to publish so far.
        scratch: A folder for files that are written.

    Raises:
        GateRefused: The licence's text is asked for, and not there.
    """
    known, scratch = licenses().get(base_license), scratch / "license"
    scratch.mkdir()
    text = answer.text or files.get(BASE_LICENSE_FILE)
    if not text and known and known.copy:
        text = scratch / BASE_LICENSE_FILE
        text.write_bytes(known.copy)
    if known and known.needs_text and not text:
        raise GateRefused(
            f"{version.name} version {version.version} is not published: the {known.name} of its base model wants a copy of it beside the weights",
            f"Save {known.url} as a text file, and name it: --license-text FILE.",
        )
    write_text(scratch / NOTICE_FILE, _notice(version, base_license, files.get(BASE_NOTICE_FILE)))
    return {NOTICE_FILE: scratch / NOTICE_FILE, **({BASE_LICENSE_FILE: text} if text else {})}


def _notice(version: BotVersion, base_license: str, earlier: Path | None) -> str:
    known, base = licenses().get(base_license), version.tags.get("mynah.base_model", "")
    lines = [
        *([known.notice, ""] if known and known.notice else []),
        f"These weights are a modified version of {base or 'a base model'}: they were fine-tuned on posts with Mynah.",
        f"The base model is under {f'the {known.name}: {known.url}' if known else base_license}",
        *([known.terms] if known else []),
        *([known.display] if known and known.display else []),
    ]
    kept = earlier.read_text("utf-8", errors="replace") if earlier else ""
    return "\n".join(lines) + "\n" + (f"\nNotices of the base model:\n\n{kept}" if kept else "")
