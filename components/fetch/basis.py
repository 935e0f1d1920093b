"""On what basis a person may use posts: said before they are read, kept with them, and shown on the card."""

from collections.abc import Sequence

from components.errors import InputError
from components.fetch.sources import Source
from components.fetch.x_price import Spend, agreed

OWN = "own-account"
BASES = {
    OWN: "you wrote them",
    "permission": "their author agreed",
    "public-figure-research": "research on what a person of public life said in public",
}
OWN_EXPORTS = (
    "archive",
    "car",
)  # what an account's owner asks their platform for; a CAR anybody may ask for, and then names a basis
CHOICE = ", ".join(f"{name} ({meaning})" for name, meaning in BASES.items())


def require_basis(sources: Sequence[Source], basis: str) -> None:
    """Raise InputError for a `basis` that is none, and where it is not given though one of `sources` needs it."""
    if basis and basis not in BASES:
        raise InputError(f"the basis is {basis[:40]!r}, which is none", f"There are: {CHOICE}.")
    without = [source.label for source in sources if source.form not in (*OWN_EXPORTS, "raw")]
    if without and not basis:
        more = f" and {len(without) - 1} more" if len(without) > 1 else ""
        raise InputError(
            f"{without[0]}{more}: nothing tells on what basis the posts may be used", f"Say so by --basis, one of: {CHOICE}."
        )


def require_agreement(sources: Sequence[Source], limit: int, spend: Spend) -> None:
    """Raise InputError, which tells price and terms, where one of `sources` costs money and nobody agreed to any."""
    paid = [source for source in sources if source.form == "x"]
    if paid and spend == Spend():
        from components.fetch.x_api import MOST_POSTS

        agreed(paid[0].name, min(limit or MOST_POSTS, MOST_POSTS), spend)


def basis_of(source: Source, given: str) -> str:
    """The basis of a source's posts: the sample is its maker's own, an export by default the owner's, all else as was `given`."""
    return OWN if source.is_sample or (source.form in OWN_EXPORTS and not given) else given
