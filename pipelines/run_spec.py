"""The specification of a run: all settings of a bot, with their options, defaults, help and validation in one place.

The command line, the launcher, the submission to a cluster and the pipelines use it. Validation imports its dependencies when it runs,
because `mynah --help` imports this module and must import neither PyYAML nor a step.
"""

from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from components.fetch.tables.columns import TableColumns
from components.sweep.settings import Sweep
from mynah.core.errors import InputError
from mynah.core.names import bot_name
from pipelines.flat_signature import FIXED, MadeBy

if TYPE_CHECKING:
    from components.fetch.sources import Source
    from components.run_inputs import RunInputs
    from mynah.training.recipe import Recipe

Name = Annotated[str, typer.Option(help="The bot's name: a-z, 0-9 and hyphens.")]
Sources = Annotated[
    list[str],
    typer.Option(
        "--from",
        help="The sources of the posts: an export (zip or folder), a CSV, JSONL or Parquet file, x://HANDLE, bsky://HANDLE, "
        "mastodon://USER@HOST, s3://BUCKET/KEY, or `sample`. Repeatable.",
    ),
]
Basis = Annotated[
    str,
    typer.Option(
        metavar="WHY",
        help="The basis on which the posts may be used: own-account (you wrote them), permission (their author agreed) or "
        "public-figure-research. Required except for exports, which count as your own.",
    ),
]
BaseModel = Annotated[
    str,
    typer.Option(
        help="One that `mynah bases` lists, a folder, a GGUF file, or a hub name. Default: smollm2 on clusters and where installed, else fledgling."
    ),
]
Rules = Annotated[
    str,
    typer.Option(
        help="The filter rules: huggingtweets (the original's), default (those and more), or default,-NAME,+NAME to switch some."
    ),
]
RecipeFile = Annotated[Path | None, typer.Option(help="A YAML file with a preset and changes to it.")]
Effort = Annotated[
    Literal["quick", "standard", "best"] | None,
    typer.Option(help="How long to train: the number of epochs and early stopping; both can also be --set."),
]
Weights = Annotated[
    list[str] | None,
    typer.Option(
        "--weight", metavar="AUTHOR=SHARE", help="An author's share of a blend, 0 to 1; the rest is shared equally. Repeatable."
    ),
]
Sets = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a value of the recipe. Repeatable.")]
Limit = Annotated[int, typer.Option(min=0, max=1_000_000_000, help="Only the newest N posts of each source; 0: all.")]
TextColumn = Annotated[
    str, typer.Option(metavar="NAME", help="The column of a table that holds the texts, if it is not called text.")
]
AuthorColumn = Annotated[
    str,
    typer.Option(metavar="NAME", help="The column of a table that names the author, such as user.screen_name of nested objects."),
]
TimeColumn = Annotated[str, typer.Option(metavar="NAME", help="The column of a table that holds the time of a post.")]
Budget = Annotated[
    float,
    typer.Option(
        metavar="USD", help="The maximum cost of the run: fine-tuning stops in time and keeps its best model; 0: no limit."
    ),
]
MaxCost = Annotated[float, typer.Option(metavar="USD", help="The maximum cost of the posts of all x:// accounts.")]
Yes = Annotated[bool, typer.Option("--yes", help="Agree to any cost of the x:// accounts.")]
Continue = Annotated[
    bool,
    typer.Option(
        "--continue", help="Continue training the champion on new posts if that gives a better model than starting over."
    ),
]
Trials = Annotated[int, typer.Option(help="The number of recipes to try.")]
OptionalTrials = Annotated[int, typer.Option(help="Search for the best recipe first, with this number of trials; 0: no search.")]
SpaceName = Annotated[
    str,
    typer.Option(
        "--space", help="The search space: default or huggingtweets (the original's); by default that of the recipe's preset."
    ),
]
Minutes = Annotated[
    float,
    typer.Option(
        help="The time limit of the whole run: no trial starts when the remaining time is needed for the bot; 0: no limit."
    ),
]


def read_recipe(recipe: RecipeFile = None, effort: Effort = None, weights: Weights = None, sets: Sets = None) -> "Recipe":
    """Return the recipe that the options describe. Raises InputError for invalid ones."""
    from mynah.training.recipe import read

    return read(recipe, sets, effort, weights)


def read_searched_recipe(
    recipe: RecipeFile = None, effort: Effort = None, weights: Weights = None, sets: Sets = None, space: SpaceName = ""
) -> "Recipe":
    """Return the recipe around which a space is searched, with the space's preset. Raises InputError for invalid options."""
    from components.sweep.search_space import recipe_for

    return recipe_for(space, recipe, sets, effort, weights)


def search(trials: Trials = 12, space: SpaceName = "", minutes: Minutes = 0.0) -> Sweep:
    """Return the search that the options describe. Raises InputError for invalid ones."""
    return Sweep(trials, space, minutes)


def optional_search(trials: OptionalTrials = 0, space: SpaceName = "", minutes: Minutes = 0.0) -> Sweep | None:
    """Return the search that the options describe, or None without trials. Raises InputError for invalid options."""
    if not trials and (space or minutes):
        raise InputError("--space and --minutes are for a search of the recipe", "Add --trials, for example --trials 12.")
    return Sweep(trials, space, minutes) if trials else None


def agreed_cost(max_cost: MaxCost = 0.0, yes: Yes = False) -> float:
    """Return the US dollars for X's API: 0 is nothing, -1 is no limit. Raises InputError for an invalid amount."""
    if not 0 <= max_cost < 1e9:
        raise InputError(f"--max-cost is {max_cost}", "Write US dollars, for example --max-cost 5.")
    return max_cost or (-1.0 if yes else 0.0)


def table_columns(text_column: TextColumn = "", author_column: AuthorColumn = "", time_column: TimeColumn = "") -> TableColumns:
    """Return the columns that the options name."""
    return TableColumns(text_column, author_column, time_column)


def default_recipe() -> "Recipe":
    """Return the default recipe."""
    from mynah.training.recipe import Recipe

    return Recipe()


RecipeOptions = Annotated["Recipe", MadeBy(read_recipe)]
AgreedCost = Annotated[float, MadeBy(agreed_cost)]
NamedColumns = Annotated[TableColumns, MadeBy(table_columns)]


CLUSTER_BASE_MODEL = "smollm2"  # the image `train` has it; a run on this machine names its own (launcher.py)


@dataclass(frozen=True, slots=True)
class RunSpec:
    """The settings of a run, on this machine or on a cluster, validated when they are built.

    Raises:
        InputError: The name is invalid, a source does not exist or has no basis, its cost was not agreed to, a rule is unknown, or
            settings exclude one another.
    """

    name: Name
    sources: Sources
    basis: Basis = ""  # of posts whose source records none: one of components.fetch.consent.BASES
    base_model: BaseModel = ""  # the default of where it runs
    rules: Rules = "default"
    recipe: RecipeOptions = field(default_factory=default_recipe)
    limit: Limit = 0  # posts of each source; 0: all
    budget: Budget = 0.0  # US dollars for the whole run; 0: no limit
    max_cost: AgreedCost = 0.0  # US dollars for X's API; 0: nothing, -1: no limit
    sweep: Annotated[Sweep | None, FIXED] = None  # searches around the recipe; None: no search
    continue_training: Continue = False  # from the bot's champion, if it has one
    columns: NamedColumns = field(default_factory=TableColumns)  # of sources that are tables

    def __post_init__(self) -> None:
        from components.fetch.consent import require_agreement, require_basis
        from components.fetch.x.api_price import parse_budget
        from components.filter.rules import rule_for
        from mynah.tracking.costs import require_budget

        bot_name(self.name)
        if not self.sources:
            raise InputError(f"the bot {self.name!r} has no sources", "Give it a list of them.")
        sources = self.parsed_sources
        require_basis(sources, self.basis)
        self.columns.require_table([source.form for source in sources])
        rule_for(self.rules)
        require_budget(self.budget)
        require_agreement(sources, self.limit, parse_budget(self.max_cost))
        if self.sweep:
            self._require_search()
            if not self.sweep.space:
                object.__setattr__(self, "sweep", replace(self.sweep, space=self.recipe.preset))

    @property
    def parsed_sources(self) -> "list[Source]":
        """The sources; those on this machine exist."""
        from components.fetch.sources import parse_sources

        return parse_sources(self.sources)

    @property
    def local_sources(self) -> list[str]:
        """The sources on this machine."""
        return [name for name, source in zip(self.sources, self.parsed_sources, strict=True) if source.is_local]

    @property
    def start(self) -> str:
        """The model from which fine-tuning starts: base, or champion."""
        return "champion" if self.continue_training else "base"

    def inputs(self, *, only_news: bool = False, serve_in: str = "") -> "RunInputs":
        """Return what the steps are told.

        Args:
            only_news: Whether the run ends without training where there are no new posts.
            serve_in: The namespace of the bot's own service; "" for none.
        """
        from components.run_inputs import RunInputs

        record = self.recipe.to_record()
        preset = record.pop("preset")
        return RunInputs(
            name=self.name, sources=list(self.sources), base_model=self.base_model or CLUSTER_BASE_MODEL, rules=self.rules,
            recipe={"preset": preset, "changes": record}, limit=self.limit, seed=self.recipe.seed, budget=self.budget, start=self.start,
            basis=self.basis, max_cost=self.max_cost, columns=self.columns.to_record(), space=self.sweep.space if self.sweep else "",
            minutes=self.sweep.minutes if self.sweep else 0.0, only_news=only_news, serve_in=serve_in,
        )  # fmt: skip

    def params(self) -> dict[str, Any]:
        """Return the parameters of the run in MLflow; the steps record further ones."""
        return {
            "sources": ", ".join(source.label for source in self.parsed_sources), "limit": self.limit, "rules": self.rules,
            "base_model": self.base_model or CLUSTER_BASE_MODEL, **self.recipe.to_record(), **(asdict(self.sweep) if self.sweep else {}),
        }  # fmt: skip

    def _require_search(self) -> None:
        assert self.sweep
        if self.continue_training:
            raise InputError("a search of the recipe starts from the base model", "Leave out --trials or --continue.")
        if self.sweep.space not in ("", self.recipe.preset):
            raise InputError(
                f"the space {self.sweep.space!r} belongs to the preset {self.sweep.space!r}, and the recipe's preset is {self.recipe.preset!r}",
                "Name one.",
            )


DEFAULTS: dict[str, Any] = {field.name: field.default for field in fields(RunSpec)}  # also for the commands of single steps
