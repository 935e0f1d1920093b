"""What was published: which version lies where on a hub, as the version's tag says it, and which files of a version may go there."""

import os
import re
from dataclasses import dataclass
from pathlib import PurePosixPath

from components.avatars import AVATAR
from components.errors import InputError
from components.store import public

PUBLISHED = "mynah.published"  # of a version: its copies, apart by ", "
DEFAULT_ENDPOINT = "https://huggingface.co"
SCHEME = "hub:"
KNOWN = "Write hub:ORG/NAME, where ORG is your account or an organisation, as in hub:ann/wren."
# The hub's rules (huggingface_hub's validate_repo_id): ASCII letters, digits and _ . -, no edge of . or -, 96 characters at most.
PART = r"(?=[A-Za-z0-9_])[\w.-]{0,95}[A-Za-z0-9_]"
REPOSITORY = re.compile(rf"{PART}/{PART}", re.ASCII)
COPY = re.compile(rf"hub:({PART}/{PART})(?:@([0-9a-f]{{7,64}}))?(?: (https?://[\w.:\[\]/-]+))?", re.ASCII)

# What transformers needs, and what people look at. Never the posts, nor what tells of them: verbatim.bloom (whoever has it can ask
# whether a sentence is among them), training.json and seen.txt (digests of them, and authors). What is not named here stays.
CARD_FILES = ("README.md", "predictions.png", "predictions.html", "pipeline.png", "funnel.png")
MODEL_FILES = ("config.json", "generation_config.json", "model.safetensors.index.json", "tokenizer.json", "tokenizer_config.json",
               "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt")  # fmt: skip
WEIGHTS = re.compile(r"[\w-]+\.safetensors", re.ASCII)


@dataclass(frozen=True, slots=True)
class Copy:
    """A repository of a hub, and the commit there; "" where nothing is known to be committed yet."""

    repository: str  # ORG/NAME
    commit: str = ""
    endpoint: str = DEFAULT_ENDPOINT

    @property
    def url(self) -> str:
        """The repository's address."""
        return f"{self.endpoint}/{self.repository}"

    @classmethod
    def at(cls, url: str, commit: str) -> "Copy":
        """The copy with the address `url`, as `url` gives it. Raises InputError for what is none."""
        endpoint, _, name = url.rpartition("/")
        endpoint, _, organisation = endpoint.rpartition("/")
        if not endpoint.startswith(("https://", "http://")) or not REPOSITORY.fullmatch(f"{organisation}/{name}"):
            raise InputError(f"{url[:200]!r} is no repository of a hub", "Is the receipt of a later version of Mynah?")
        return cls(f"{organisation}/{name}", commit, endpoint)

    def __str__(self) -> str:
        where = "" if self.endpoint == DEFAULT_ENDPOINT else f" {self.endpoint}"
        return f"{SCHEME}{self.repository}{'@' + self.commit if self.commit else ''}{where}"


def repository(text: str) -> str:
    """The ORG/NAME of `hub:ORG/NAME`. Raises InputError for another place, and for what cannot be a repository's name."""
    if not text.startswith(SCHEME):
        raise InputError(f"nobody knows how to publish to {text[:100]!r}", f"Mynah publishes to a Hugging Face hub. {KNOWN}")
    name = text.removeprefix(SCHEME)
    if not REPOSITORY.fullmatch(name) or len(name) > 96 or "--" in name or ".." in name or name.endswith(".git"):
        raise InputError(
            f"{name[:100]!r} is no ORG/NAME of a hub: two names of a-z, A-Z, 0-9, _, . and -, 96 characters at most", KNOWN
        )
    return name


def hub_endpoint() -> str:
    """HF_ENDPOINT, or the hub of Hugging Face. Raises InputError for what is no address of a server."""
    endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/") or DEFAULT_ENDPOINT
    if not re.fullmatch(r"https?://[\w.:\[\]/-]+", endpoint, re.ASCII):
        raise InputError(f"HF_ENDPOINT is {public(endpoint)[:100]!r}", f"Set it to https://…, or unset it: {DEFAULT_ENDPOINT}.")
    return endpoint


def copies(tag: str) -> list[Copy]:
    """The copies that a version's tag names; what is no such name, for anybody can write tags, is left out."""
    found = [COPY.fullmatch(part) for part in tag.split(", ")]
    return [Copy(match[1], match[2] or "", match[3] or DEFAULT_ENDPOINT) for match in found if match]


def with_copy(tag: str, copy: Copy) -> str:
    """The tag with `copy` in the place of an earlier one in the same repository."""
    others = [each for each in copies(tag) if not same_place(each, copy)]
    return ", ".join(map(str, (*others, copy)))


def same_place(one: Copy, other: Copy) -> bool:
    """Whether both are in one repository; hubs do not tell upper from lower case."""
    return one.url.casefold() == other.url.casefold()


def may_go(name: str) -> bool:
    """Whether a file of a version's checkpoint may be published."""
    known = name in CARD_FILES or name in MODEL_FILES or AVATAR.fullmatch(name) or WEIGHTS.fullmatch(name)
    return bool(known) and PurePosixPath(name).name == name


def is_of_card(name: str) -> bool:
    """Whether a file that may be published belongs to the card."""
    return name in CARD_FILES or bool(AVATAR.fullmatch(name))
