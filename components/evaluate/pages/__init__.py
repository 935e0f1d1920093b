"""The report as pages that a person likes to look at: report.html, and blind.html, where they tell real posts from generated ones.

Each page is one file that asks nothing of any other and runs no script but its own: it reads the same in a browser, in Kubeflow's and
MLflow's frames, and on paper. Its policy (CSP) names its style and its script by their digests, and forbids all else.
"""

import base64
import hashlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from components.card.escape import clean
from components.evaluate.pages import charts
from components.evaluate.pages.blind import sheet
from components.evaluate.pages.facts import Facts, read_facts
from components.evaluate.pages.table import figure, groups, label_of, limit_of, margin_of, number
from components.files import write_text

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

FOLDER = Path(__file__).parent
LONGEST = 600  # characters of a text that are shown; a post has 280
SHOWN, MOST = 4, 200  # texts of a prompt that are shown, and that can be unfolded
AUTHORS = 4  # whose funnels are shown; the others' can be unfolded


def write_pages(folder: Path, model: Path, data: Path) -> None:
    """Write report.html and blind.html into the report `folder`, from its files and those of `model` and `data`.

    Raises InputError naming the file that is not as its step writes it.
    """
    facts = read_facts(folder, model, data)
    report, blind = _report(facts), _blind(facts)
    write_text(folder / "report.html", report)
    write_text(folder / "blind.html", blind)


def legible(text: str) -> str:
    """`text` with its lines but without invisible and deceiving characters, cut where nobody reads on."""
    lines = (clean(line) for line in text[: 4 * LONGEST].splitlines())
    plain = "\n".join(line for line in lines if line)
    return plain if len(plain) <= LONGEST else f"{plain[: LONGEST - 1].rstrip()}…"


def _report(facts: Facts) -> str:
    training = facts.training
    samples = facts.from_nothing or tuple(text for prompt in facts.prompts for text in prompt.texts)
    return (
        _environment()
        .get_template("report.html")
        .render(
            facts=facts,
            groups=groups(facts),
            curve=charts.loss_curve(training.history, training.kept_epoch),
            height=charts.HEIGHT,
            lengths=charts.lengths(samples, facts.train),
            funnels=[(author, charts.funnel(author)) for author in facts.authors],
            shown=SHOWN,
            most=MOST,
            authors_shown=AUTHORS,
        )
    )


def _blind(facts: Facts) -> str:
    return _environment().get_template("blind.html").render(sheet=sheet(facts))


@cache
def _environment() -> "Environment":
    """Jinja with every value escaped, cleaned, and missed where it is not there."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    def shown(value: object) -> object:
        return legible(value) if isinstance(value, str) and not isinstance(value, Markup) else value

    style, script = ((FOLDER / name).read_text("utf-8") for name in ("style.css", "blind.js"))
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {
        "style": Markup(style),  # noqa: S704 - files of this package
        "style_digest": _digest(style),
        "script": Markup(script),  # noqa: S704
        "script_digest": _digest(script),
    }
    environment.filters |= {
        "figure": figure, "label": label_of, "limit": limit_of, "margin": margin_of, "number": number, "continuation": _continuation,
        "sentence": _sentence,
    }  # fmt: skip
    return environment


def _continuation(text: str, prompt: str) -> "Markup":
    """What a text says after its prompt, with a blank before it where there is one."""
    from markupsafe import escape

    rest = text.removeprefix(prompt)
    return escape(f"{' ' if prompt and rest[:1].isspace() else ''}{legible(rest)}")  # escaped here, and so not trimmed again


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].removesuffix('.')}." if text else ""


def _digest(text: str) -> str:
    """As a policy names an inline style or script (CSP 3, section 2.3.1)."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
