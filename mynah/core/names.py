"""Validate names at the edge: valid ones are safe as S3 keys, DNS labels, model names and file names."""

import difflib
import re
import unicodedata
from collections.abc import Sequence

from mynah.core.errors import InputError

# An InferenceService's name starts with a letter (IsvcNameFmt in KServe's validation webhook).
# A Knative revision's host label is NAME-predictor-default-00001: 40 characters leave room within DNS's 63 (RFC 1035).
LONGEST_BOT_NAME = 40
BOT_NAME = re.compile(rf"[a-z](?:[a-z0-9-]{{0,{LONGEST_BOT_NAME - 2}}}[a-z0-9])?")


def bot_name(text: str) -> str:
    """Return `text` if it is a valid name for a bot, an MLflow registered model and an InferenceService.

    Raises InputError otherwise: a lower-case letter, then letters, digits and inner hyphens, at most 40 characters.
    """
    if BOT_NAME.fullmatch(text):
        return text
    raise InputError(
        f"{text[:80]!r} can't be a bot's name: use a-z, 0-9 and inner hyphens, a letter first, {LONGEST_BOT_NAME} characters at most",
        f"Try {suggested_name(text)!r}.",
    )


def suggested_name(text: str) -> str:
    """Return the valid bot name that is most similar to `text`."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    name = re.sub(r"[^a-z0-9]+", "-", plain).strip("-") or "my-bot"
    return (name if name[0].isalpha() else f"bot-{name}")[:LONGEST_BOT_NAME].strip("-")


def is_unicode(text: str) -> bool:
    """Return whether UTF-8 can encode `text`.

    JSON may spell half a surrogate pair, and a command line may contain any bytes; no tokenizer reads them.
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def author_name(text: str) -> str:
    """Convert a handle or file name to an author's name: letters, digits, `_`, `.`, `-` and `@host`, at most 64 characters."""
    plain = unicodedata.normalize("NFKC", text).strip().lstrip("@")
    # An underscore at an end belongs to the handle (@ann and @_ann differ), unless it replaced another character.
    return re.sub(r"[^\w.@-]+", "\0", plain)[:64].strip("\0.").replace("\0", "_") or "unknown"


def nearest(name: str, known: Sequence[str]) -> str:
    """Return a hint for a misspelled name: the most similar known one, or all of them."""
    similar = difflib.get_close_matches(name[:100], known, 1)
    return (
        f"Did you mean {similar[0]!r}?" if similar else f"Use one of: {', '.join(known[:20])}{' …' if len(known) > 20 else ''}."
    )
