"""Copies of versions on a hub, as recorded in a version's tag, and which files of a version may be published."""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

from mynah.core.errors import InputError
from mynah.core.settings import HF_ENDPOINT
from mynah.data.avatars import AVATAR
from mynah.data.funnel import FUNNEL_PICTURE
from mynah.mlflow_client.store import public
from mynah.registry.card_files import (
    BASE_LICENSE_FILE,
    BASE_NOTICE_FILE,
    NOTICE_FILE,
    PAGE_FILE,
    PICTURE_FILE,
    PIPELINE_PICTURE,
    README_FILE,
)

PUBLISHED = "mynah.published"  # on a version: its copies, separated by ", "
DEFAULT_ENDPOINT = HF_ENDPOINT.default
SCHEME = "hub:"
HOW_TO_NAME = "Write hub:ORG/NAME, where ORG is your account or an organisation, as in hub:ann/wren."
# The hub's rules (huggingface_hub's validate_repo_id): ASCII letters, digits and _ . -, no . or - at the ends, at most 96 characters.
PART = r"(?=[A-Za-z0-9_])[\w.-]{0,95}[A-Za-z0-9_]"
REPOSITORY = re.compile(rf"{PART}/{PART}", re.ASCII)
COPY = re.compile(rf"hub:({PART}/{PART})(?:@([0-9a-f]{{7,64}}))?(?: (https?://[\w.:\[\]/-]+))?", re.ASCII)

# What transformers needs, and what people look at. Never the posts, nor what reveals them: verbatim.bloom (it answers
# whether a sentence is among them), training.json and seen.txt (digests and authors). Files not listed here are not published.
CARD_FILES = (README_FILE, PICTURE_FILE, PAGE_FILE, PIPELINE_PICTURE, FUNNEL_PICTURE)
MODEL_FILES = ("config.json", "generation_config.json", "model.safetensors.index.json", "tokenizer.json", "tokenizer_config.json",
               "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt", BASE_LICENSE_FILE, BASE_NOTICE_FILE,
               NOTICE_FILE)  # fmt: skip
WEIGHTS = re.compile(r"[\w-]+\.safetensors", re.ASCII)


@dataclass(frozen=True, slots=True)
class PublishedCopy:
    """A repository on a hub, and the commit there; "" where no commit is known yet."""

    repository: str  # ORG/NAME
    commit: str = ""
    endpoint: str = DEFAULT_ENDPOINT

    @property
    def url(self) -> str:
        """The repository's address."""
        return f"{self.endpoint}/{self.repository}"

    @classmethod
    def at(cls, url: str, commit: str) -> "PublishedCopy":
        """Parse the address that `url` returns. Raises InputError for any other address."""
        endpoint, _, name = url.rpartition("/")
        endpoint, _, organisation = endpoint.rpartition("/")
        if not endpoint.startswith(("https://", "http://")) or not REPOSITORY.fullmatch(f"{organisation}/{name}"):
            raise InputError(
                f"{url[:200]!r} is not a repository on a hub", "Was the receipt written by a later version of Mynah?"
            )
        return cls(f"{organisation}/{name}", commit, endpoint)

    def __str__(self) -> str:
        where = "" if self.endpoint == DEFAULT_ENDPOINT else f" {self.endpoint}"
        return f"{SCHEME}{self.repository}{'@' + self.commit if self.commit else ''}{where}"


def repository(text: str) -> str:
    """Return ORG/NAME of `hub:ORG/NAME`. Raises InputError for another destination or an invalid name."""
    if not text.startswith(SCHEME):
        raise InputError(
            f"publishing is not supported to {text[:100]!r}", f"Mynah publishes to a Hugging Face hub. {HOW_TO_NAME}"
        )
    name = text.removeprefix(SCHEME)
    if not REPOSITORY.fullmatch(name) or len(name) > 96 or "--" in name or ".." in name or name.endswith(".git"):
        raise InputError(
            f"{name[:100]!r} is not ORG/NAME: two names of a-z, A-Z, 0-9, _, . and -, at most 96 characters", HOW_TO_NAME
        )
    return name


def hub_endpoint() -> str:
    """Return HF_ENDPOINT, or the Hugging Face hub. Raises InputError for an invalid address."""
    endpoint = HF_ENDPOINT.get().rstrip("/") or DEFAULT_ENDPOINT
    if not re.fullmatch(r"https?://[\w.:\[\]/-]+", endpoint, re.ASCII):
        raise InputError(f"HF_ENDPOINT is {public(endpoint)[:100]!r}", f"Set it to https://…, or unset it: {DEFAULT_ENDPOINT}.")
    return endpoint


def parse_copies(tag: str) -> list[PublishedCopy]:
    """Return the copies that a version's tag names. Invalid ones are skipped: anybody can write tags."""
    matches = [COPY.fullmatch(part) for part in tag.split(", ")]
    return [PublishedCopy(match[1], match[2] or "", match[3] or DEFAULT_ENDPOINT) for match in matches if match]


def with_copy(tag: str, copy: PublishedCopy) -> str:
    """Return the tag with `copy`, replacing an earlier one in the same repository."""
    others = [other for other in parse_copies(tag) if not same_repository(other, copy)]
    return ", ".join(map(str, (*others, copy)))


def same_repository(one: PublishedCopy, other: PublishedCopy) -> bool:
    """Return whether both are in one repository; hubs ignore case."""
    return one.url.casefold() == other.url.casefold()


def is_publishable(name: str) -> bool:
    """Return whether a file of a version's checkpoint may be published."""
    known = name in CARD_FILES or name in MODEL_FILES or AVATAR.fullmatch(name) or WEIGHTS.fullmatch(name)
    return bool(known) and PurePosixPath(name).name == name


def is_card_file(name: str) -> bool:
    """Return whether a publishable file belongs to the card."""
    return name in CARD_FILES or bool(AVATAR.fullmatch(name))
