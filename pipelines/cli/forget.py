"""The question before `mynah forget` erases, the mark of an author in advance, and blends that are trained again."""

import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from mynah.core.errors import InputError
from pipelines.cli.options import result
from pipelines.run_spec import RunSpec, read_recipe

if TYPE_CHECKING:
    from components.forget.inventory import Subject
    from components.forget.shared_runs import RemainingPosts
    from components.forget.summary import Forgotten


def confirmed(workdir: Path | None, as_json: bool) -> "Callable[[Forgotten], None]":
    """Return a function that shows what would be erased, and raises InputError unless a person at the terminal agrees.

    Args:
        workdir: the work folder.
        as_json: whether stdout has the result as JSON, so that the question stands on stderr.
    """
    from pipelines.cli.render_bots import show_plan

    def confirm(plan: "Forgotten") -> None:
        if not (sys.stdin and sys.stdin.isatty()):
            raise InputError(
                f"nothing was erased of {plan.subject}: forget asks first, and there is no terminal to ask on",
                "Look with --dry-run, then erase with --yes.",
            )
        show_plan(
            plan,
            workdir,
            f"This erases of {'the author' if plan.subject.is_author else 'the bot'} {plan.subject}:",
            on_stderr=as_json,
        )
        if not typer.confirm("Erase all of it, for good?", err=as_json):
            raise InputError(f"nothing was erased of {plan.subject}: the answer was no", "Run it again to be asked again.")

    return confirm


def bar_author(subject: "Subject", workdir: Path, as_json: bool) -> None:
    """Bar an author from being fetched, and print since when.

    Args:
        subject: the author.
        workdir: the work folder.
        as_json: whether to print JSON.
    """
    from components.forget.step import bar

    day = bar(subject, workdir)
    text = f"{subject} is barred since {day}: no run fetches their posts until `mynah remember {subject}`. Nothing was erased."
    result({"subject": str(subject), "barred": day, "items": [], "receipt": None}, text, as_json)


def run_again(rest: "RemainingPosts", workdir: Path, as_json: bool) -> None:
    """Run the pipeline of a blend again on its remaining posts, with its own recipe.

    Args:
        rest: the remaining posts.
        workdir: the work folder.
        as_json: whether to omit the printed outcome.
    """
    from dataclasses import fields

    from components.forget.shared_runs import remove_saved
    from mynah.training.recipe import Recipe
    from pipelines.cli.render import show_outcome
    from pipelines.local.launcher import launch

    names = {field.name for field in fields(Recipe)}
    recipe = read_recipe(sets=[f"{key}={value}" for key, value in rest.params.items() if key in names])
    kinds = {"base_model": str, "rules": str, "limit": int}
    kept: dict[str, Any] = {key: kind(rest.params[key]) for key, kind in kinds.items() if key in rest.params}
    outcome = launch(RunSpec(rest.bot, [str(rest.raw)], recipe=recipe, **kept), workdir)
    remove_saved(rest)
    if not as_json:
        with suppress(BrokenPipeError):
            show_outcome(outcome, workdir)
