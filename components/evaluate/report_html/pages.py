"""The report as HTML: report.html, and blind.html, a test in which people distinguish real posts from generated ones.

A page is one file without references to others, so it works in a browser, in the frames of Kubeflow's and MLflow's UIs, and printed.
Its Content Security Policy allows its own style and script by their digests, and nothing else.
"""

import base64
import hashlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from components.evaluate.report_html import charts
from components.evaluate.report_html.blind_test import blind_test
from components.evaluate.report_html.inputs import ReportInputs, read_inputs
from components.evaluate.report_html.metric_table import figure, groups, label_of, limit_of, margin_of, number
from mynah.core.files import write_text
from mynah.data.markdown import clean
from mynah.models.evaluation_record import BLIND_TEST_PAGE, REPORT_PAGE

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

FOLDER = Path(__file__).parent
MAX_LENGTH = 600  # characters of a text that are shown; a post has 280
SHOWN_TEXTS, MAX_TEXTS = 4, 200  # texts of a prompt that are visible, and that can be expanded
SHOWN_AUTHORS = 4  # authors whose funnels are visible; the others can be expanded


def write_pages(folder: Path, model: Path, data: Path) -> None:
    """Write report.html and blind.html.

    Args:
        folder: the report's folder, with its metrics, verdict and samples.
        model: the finetune step's checkpoint.
        data: the filter step's texts.

    Raises:
        InputError: a file is missing or invalid; the message names it.
    """
    inputs = read_inputs(folder, model, data)
    report, blind = _report(inputs), _blind(inputs)
    write_text(folder / REPORT_PAGE, report)
    write_text(folder / BLIND_TEST_PAGE, blind)


def legible(text: str) -> str:
    """Return text with its line breaks but without invisible and misleading characters, cut after MAX_LENGTH characters."""
    lines = (clean(line) for line in text[: 4 * MAX_LENGTH].splitlines())
    plain = "\n".join(line for line in lines if line)
    return plain if len(plain) <= MAX_LENGTH else f"{plain[: MAX_LENGTH - 1].rstrip()}…"


def _report(inputs: ReportInputs) -> str:
    training, funnel = inputs.training, inputs.funnel
    samples = inputs.unprompted or tuple(text for group in inputs.prompts for text in group.texts)
    return (
        _environment()
        .get_template(REPORT_PAGE)
        .render(
            inputs=inputs,
            groups=groups(inputs),
            curve=charts.loss_curve(training.history, training.best_epoch),
            height=charts.HEIGHT,
            lengths=charts.lengths(samples, inputs.train),
            funnels=[(author.author, charts.funnel_bars(funnel, number)) for number, author in enumerate(funnel.authors)],
            shown=SHOWN_TEXTS,
            max_texts=MAX_TEXTS,
            authors_shown=SHOWN_AUTHORS,
        )
    )


def _blind(inputs: ReportInputs) -> str:
    return _environment().get_template(BLIND_TEST_PAGE).render(test=blind_test(inputs))


@cache
def _environment() -> "Environment":
    """Return a Jinja environment that escapes and cleans every value and raises for undefined ones."""
    # Jinja takes 0.1 s to import, and only a report needs it.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    def clean_text(value: object) -> object:
        return legible(value) if isinstance(value, str) and not isinstance(value, Markup) else value

    style, script = ((FOLDER / name).read_text("utf-8") for name in ("style.css", "blind.js"))
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=clean_text,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {
        "style": Markup(style),  # noqa: S704 - a file of this package, not input
        "style_digest": _digest(style),
        "script": Markup(script),  # noqa: S704 - a file of this package, not input
        "script_digest": _digest(script),
    }
    environment.filters |= {
        "figure": figure, "label": label_of, "limit": limit_of, "margin": margin_of, "number": number, "continuation": _continuation,
        "sentence": _sentence,
    }  # fmt: skip
    return environment


def _continuation(text: str, prompt: str) -> "Markup":
    """Return the escaped continuation of a prompt, including the space between the two.

    Args:
        text: the prompt and its continuation.
        prompt: the prompt.
    """
    from markupsafe import escape

    rest = text.removeprefix(prompt)
    return escape(
        f"{' ' if prompt and rest[:1].isspace() else ''}{legible(rest)}"
    )  # Markup, so that finalize does not strip the space


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].removesuffix('.')}." if text else ""


def _digest(text: str) -> str:
    """Return the hash by which a policy allows an inline style or script (CSP 3, section 2.3.1)."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
