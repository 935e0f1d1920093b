"""Authors in MLflow tags, and comparison of handles."""

import json
from collections.abc import Iterable, Mapping

from mynah.core.names import author_name
from mynah.mlflow_client.store import MAX_TAG

AUTHORS_TAG, CONSENT_TAG = "mynah.authors", "mynah.consent"  # and mynah.authors.1, .2 … where one tag is too small

ANCESTORS = "ancestors"  # mynah.authors.ancestors: authors of the model that this one continues


def authors_tags(authors: Iterable[str], part: str = "") -> dict[str, str]:
    """Convert authors to tags with JSON lists, as many as needed; `part` is added to their names."""
    first = f"{AUTHORS_TAG}.{part}" if part else AUTHORS_TAG
    tags: list[list[str]] = [[]]
    for author in authors:
        if len(json.dumps([*tags[-1][-1:], author], ensure_ascii=False)) + sum(len(name) + 4 for name in tags[-1]) > MAX_TAG:
            tags.append([])
        tags[-1].append(author)
    return {f"{first}.{number}" if number else first: json.dumps(names, ensure_ascii=False) for number, names in enumerate(tags)}


def is_authors_tag(key: str) -> bool:
    """Return whether a tag holds authors."""
    return key == AUTHORS_TAG or key.startswith(f"{AUTHORS_TAG}.")


def authors_of(tags: Mapping[str, str]) -> list[str]:
    """Return the authors that tags name; invalid tags are skipped."""
    authors: list[str] = []
    for key in sorted(filter(is_authors_tag, tags), key=lambda key: (len(key), key)):  # a database returns tags in any order
        try:
            names = json.loads(tags[key])
        except (ValueError, RecursionError):
            continue
        authors += [str(name) for name in names] if isinstance(names, list) else []
    return authors


def same_author(one: str, other: str) -> bool:
    """Return whether two handles name one person; platforms ignore case."""
    return author_key(one) == author_key(other)


def author_key(text: str) -> str:
    """Return a handle in the form in which authors are compared."""
    return author_name(text).casefold()
