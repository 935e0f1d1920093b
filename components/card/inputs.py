"""What a card shows: everything that is read from the folders and records of the steps before it. Texts are not escaped."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from components.card.preview import Person
from mynah.data.funnel import Funnel
from mynah.data.source_records import SourceRecord
from mynah.models.evaluation_record import SamplingMachine
from mynah.models.verdict import Verdict
from mynah.tracking.energy import Energy
from mynah.training.training_record import TrainingRecord

PROMPT = "My dream is"  # huggingtweets' prompt, for the widget, the samples and the picture


@dataclass(frozen=True, slots=True)
class Author:
    """A person whom the bot writes like; `avatar` is a PNG or None."""

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
class RunRecord:
    """MLflow's record of the pipeline run.

    Attributes:
        run: Its id; "" where it is not recorded.
        pages: URLs of MLflow's pages by the step's name, "" for the whole run; empty without a server.
        cost_usd: The cost of the steps before the card, in US dollars; None where it is unknown.
        energy: The energy of these steps; None where it is unknown.
    """

    run: str = ""
    pages: Mapping[str, str] = field(default_factory=dict)
    cost_usd: float | None = None
    energy: Energy | None = None


@dataclass(frozen=True, slots=True)
class CardInputs:
    """Everything that a card and its pictures show.

    Attributes:
        name: The bot's name.
        authors: The authors whom it writes like, in the funnel's order.
        sources: The sources of their posts.
        funnel: The numbers of posts downloaded, dropped and kept.
        training: The record of training.
        metrics: The metrics by the names of mynah.models.metric_definitions; None for what could not be measured.
        verdict: The gate's verdict.
        prompt: The prompt of the samples.
        samples: The texts that the bot generated for it.
        machine: The machine that generated the samples; None where an earlier version did not record it.
        usd_per_1000_answers: The cost of serving in US dollars; None where it is unknown.
        record: MLflow's record of the run.
        url: The future address of the card's files; "" where it is unknown.
        adapter_bytes: The size of the adapter's matrices; 0: the model is no adapter.
    """

    name: str
    authors: tuple[Author, ...]
    sources: Sequence[SourceRecord]
    funnel: Funnel
    training: TrainingRecord
    metrics: Mapping[str, float | None]
    verdict: Verdict
    prompt: str
    samples: tuple[str, ...]
    machine: SamplingMachine | None = None
    usd_per_1000_answers: float | None = None
    record: RunRecord = RunRecord()
    url: str = ""
    adapter_bytes: int = 0

    @property
    def funnel_rows(self) -> list[tuple[str, list[int]]]:
        """The funnel as labelled rows with a number per author; unknown reasons are shown with blanks instead of underscores."""
        return [(label.replace("_", " "), posts) for label, posts in self.funnel.rows()]
