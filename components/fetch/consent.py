"""The basis on which a person may use posts: stated before they are read, stored with them, and shown on the card."""

from collections.abc import Sequence

from components.fetch.sources import Content, Source
from components.fetch.x.api_price import MAX_POSTS, Budget, require_price_agreement
from mynah.core.errors import InputError

OWN = "own-account"
BASES = {
    OWN: "you wrote them",
    "permission": "their author agreed",
    "public-figure-research": "research on public statements of a public figure",
}
# Only an account's owner can request an export; anybody can download a CAR, and then must name a basis.
OWN_EXPORTS = ("archive", "car")
CHATS = ("telegram-chat", "whatsapp-chat")  # Content.kind: anybody in a chat can export it
BASIS_CHOICES = ", ".join(f"{name} ({meaning})" for name, meaning in BASES.items())


def require_basis(sources: Sequence[Source], basis: str) -> None:
    """Check the basis that a person states.

    Args:
        sources: The sources to read.
        basis: A key of BASES; "" for none.

    Raises:
        InputError: The basis is unknown, or missing although one of the sources needs it.
    """
    if basis and basis not in BASES:
        raise InputError(f"unknown basis {basis[:40]!r}", f"Choose one of: {BASIS_CHOICES}.")
    without = [source.label for source in sources if source.form not in (*OWN_EXPORTS, "raw")]
    if without and not basis:
        more = f" and {len(without) - 1} more" if len(without) > 1 else ""
        raise InputError(
            f"{without[0]}{more}: the basis on which the posts may be used is not stated",
            f"State it with --basis, one of: {BASIS_CHOICES}.",
        )


def require_basis_of_content(source: Source, content: Content, basis: str) -> None:
    """Raise InputError where an archive turns out not to be an account's own export, such as a chat of several people, and no basis is given."""
    if source.form in OWN_EXPORTS and content.kind in CHATS and not basis:
        raise InputError(
            f"{source.label}: is a chat, and the basis on which {content.author}'s messages may be used is not stated",
            f"State it with --basis, one of: {BASIS_CHOICES}.",
        )


def require_agreement(sources: Sequence[Source], limit: int, budget: Budget) -> None:
    """Check that a person agreed to the cost of the sources.

    Args:
        sources: The sources to read.
        limit: The newest posts to read of each source; 0 for all.
        budget: What the person agreed to pay.

    Raises:
        InputError: One of the sources costs money, and no cost was agreed to; the message has price and terms.
    """
    paid = [source for source in sources if source.form == "x"]
    if paid and budget == Budget():
        require_price_agreement(paid[0].name, min(limit or MAX_POSTS, MAX_POSTS), budget)


def basis_of(source: Source, given: str) -> str:
    """Return the basis of a source's posts: own-account for the sample and, by default, for an export; else the `given` one."""
    return OWN if source.is_sample or (source.form in OWN_EXPORTS and not given) else given
