"""What a card shows: everything that is read from the folders and records of the steps before it. Texts as they came."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from components.card.preview import Person
from components.energy import Energy

PROMPT = "My dream is"  # huggingtweets' own: the widget's, the samples' and the picture's


@dataclass(frozen=True, slots=True)
class Author:
    """A person whom the bot writes like; `avatar` a picture in PNG or None."""

    handle: str
    display_name: str
    bio: str
    avatar: Path | None = None

    @property
    def person(self) -> Person:
        """What pictures show of them."""
        return Person(self.handle, self.display_name, self.avatar)

    @property
    def shown(self) -> str:
        """`Name (@handle)`, or `@handle` for a person without a name; on one line, not escaped."""
        return self.person.shown


@dataclass(frozen=True, slots=True)
class Source:
    """Where posts came from, and by what right they are used."""

    source: str
    kind: str
    author: str
    posts: int
    first: str
    last: str
    sha256: str
    basis: str


@dataclass(frozen=True, slots=True)
class Continual:
    """How going on from an earlier version did beside starting over; losses in nats per token on the same held-out posts."""

    was_chosen: bool
    earlier: str  # the version, or a folder's name
    new: int  # posts
    replayed: int
    held_out: int
    loss: float
    loss_of_starting_over: float


@dataclass(frozen=True, slots=True)
class Training:
    """How the weights came about."""

    recipe: tuple[tuple[str, str], ...]
    base: str
    base_is_folder: bool  # a folder may be named like a hub id; the record then has an empty revision
    base_digest: str
    data_digest: str
    posts: int
    tokens: int
    steps: int
    device: str
    precision: str
    seconds: float
    tokens_per_second: float
    history: tuple[tuple[int, float | None, float | None], ...]  # epoch, training loss, held-out loss
    best_epoch: int
    versions: tuple[tuple[str, str], ...]
    continual: Continual | None = None
    canaries: int = 0  # strings planted among the posts, to measure what it remembers


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the verdict; `samples` are those for which it was missed, up to five."""

    metric: str
    value: float | None
    limit: float | None
    at_least: bool
    passed: bool
    reason: str
    samples: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Record:
    """What MLflow knows of the pipeline run: its id ("" where nothing records it), the addresses of its pages, what it took so far.

    `pages` has a step's name, or "" for the whole run, to an address that people can open; it is empty where there is no server.
    """

    run: str = ""
    pages: Mapping[str, str] = field(default_factory=dict)
    cost_usd: float | None = None  # of the steps before the card
    energy: Energy | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that a card and its picture show."""

    name: str
    authors: tuple[Author, ...]
    sources: tuple[Source, ...]
    funnel: tuple[tuple[str, list[int]], ...]  # a label and a number per author
    rules: str
    languages: tuple[str, ...]  # of the authors, codes of ISO 639, where the filter looked
    train: int
    held_out: int
    seed: int
    training: Training
    metrics: dict[str, float | None]  # by the names of components.evaluate.definitions
    passed: bool
    checks: tuple[Check, ...]
    prompt: str
    samples: tuple[str, ...]
    usd_per_1000_answers: float | None = None
    record: Record = Record()
    url: str = ""  # where the card's files will be seen; "" where that is not known
