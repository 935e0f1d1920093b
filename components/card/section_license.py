"""The card's section on licences: whose the posts are, and what the base model's licence asks."""

from mynah.data.markdown import markdown
from mynah.models.catalogue import licenses
from mynah.models.licenses import UNKNOWN, License

HEADING = "## Licence"


def license_section(base_model: str, base_license: str) -> str:
    """Return the section.

    Args:
        base_model: The base model's name.
        base_license: The id of its licence, or UNKNOWN.
    """
    known = licenses().get(base_license)
    paragraphs = [
        HEADING,
        "The posts belong to their authors, and the weights derive from the posts.",
        _terms(markdown(base_model), known) if known else _unknown(markdown(base_model), base_license),
        *([f"**{known.display}**"] if known and known.display else []),
        *([markdown(known.notice, 400)] if known and known.notice else []),
    ]
    return "\n\n".join(paragraphs)


def _terms(base_model: str, known: License) -> str:
    both = ", which is the licence of these weights too" if known.passes_on else ""
    return (
        f"They also derive from the base model {base_model}, which is under the {known.name} (<{known.url}>){both}. {known.terms}"
    )


def _unknown(base_model: str, base_license: str) -> str:
    named = "names no licence that was found" if base_license == UNKNOWN else f"is under the licence {markdown(base_license)}"
    return f"They also derive from the base model {base_model}, which {named}. Whoever shares the weights must know and follow its terms."
