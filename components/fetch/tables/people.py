"""The people whom a cell names: a handle, a profile's address, an object of a user as JSON or as Python prints it, or a list of these.

Exporters write a nested user as `{"username": "wren", …}`, `{'username': 'wren', …}` or, as snscrape's objects print themselves,
`User(username='wren', id=5, …)`. Nothing of it is ever evaluated.
"""

import json
import re
from collections.abc import Iterator

from components.fetch.tables.column_names import key_of

# Keys of a user's handle, the preferred ones first; a name to display is none.
HANDLE_KEYS = ("username", "screenname", "handle", "acct", "userhandle", "preferredusername", "login")
MAX_CELL_CHARACTERS = 100_000  # that are searched
MAX_DEPTH = 6
MAX_PEOPLE = 200  # of a cell
MAX_NAME_CHARACTERS = 100
# A person's address on X, Bluesky, or a server of the fediverse (https://HOST/@USER), and that of a post of theirs.
ADDRESS = re.compile(
    r"(?:https?://)?(?:(?:www\.|mobile\.)?(?:twitter|x)\.com/@?|bsky\.app/profile/|([\w.-]{1,200}\.\w{2,60})/@)([\w.-]{1,253})(?:[/?#].*)?",
    re.I | re.DOTALL,
)
NOT_ACCOUNTS = {"i", "home", "search", "hashtag", "intent", "share"}  # https://x.com/i/web/status/1 names nobody
QUOTED = r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\""
# `key=value`, `'key': value` or a text, which is passed over as a whole: a bio may hold `username='somebody'`.
PIECE = re.compile(
    rf"(?:\b(\w{{1,40}})=|(?:'(\w{{1,40}})'|\"(\w{{1,40}})\")\s*:\s*)({QUOTED}|[\w.@-]{{1,100}})|{QUOTED}", re.DOTALL
)
# How an object or a list begins in a text; `Wren (she)` and `[deleted]` are texts.
OBJECT = re.compile(r"\s*(?:<?[\w.]{1,100}\(\s*\w{1,40}=|<[\w.]{1,100} \w{1,40}=|\{|[\[(]\s*(?:['\"\[{(]|[\w.]{1,100}\(|\]))")
HANDLES = re.compile(r"@?[\w.-]{1,64}(?:@[\w.-]{1,253})?(?:\s*[,;|]\s*@?[\w.-]{1,64}(?:@[\w.-]{1,253})?){1,200}\s*[,;|]?")


def handle_of(value: object) -> str | None:
    """Return the one whom the cell of an author column names.

    Args:
        value: A text, an object, or a list of either.

    Returns:
        The handle, or the text as it is where it is no object, list or address; "" where a list is empty; None where an object names
        nobody, or a list names several people.
    """
    if isinstance(value, str):
        text = value.strip()
        if match := ADDRESS.fullmatch(text[:1000]):
            return _of_address(match) or text
        if not OBJECT.match(text):
            return value
        parsed = _parsed(text)
        if isinstance(parsed, str):
            return _first(_pieces(parsed)) or _only(_texts(parsed))
        return handle_of(parsed)
    if isinstance(value, list | tuple):
        return "" if not value else handle_of(value[0]) if len(value) == 1 else None
    return _first(_items(value)) if isinstance(value, dict) else None


def people_of(value: object, *, is_list: bool = True) -> Iterator[str]:
    """Yield everybody whom a cell may name.

    Args:
        value: A value of any type.
        is_list: Whether a text such as `wren, ann` is a list of people.

    Yields:
        The handles, and whole texts that may be one.
    """
    found: dict[str, None] = {}
    for name in _people(value, is_list, MAX_DEPTH):
        found[name.strip().lstrip("@")] = None
        if len(found) > MAX_PEOPLE:
            break
    yield from filter(None, found)


def _people(value: object, is_list: bool, depth: int) -> Iterator[str]:
    if isinstance(value, dict) and depth:
        yield from (str(name) for key, name in value.items() if key_of(str(key)) in HANDLE_KEYS and isinstance(name, str))
        for inner in value.values():
            if isinstance(inner, dict | list | tuple):
                yield from _people(inner, is_list, depth - 1)
    elif isinstance(value, list | tuple) and depth:
        for inner in value[:MAX_PEOPLE]:
            yield from _people(inner, is_list, depth - 1)
    elif isinstance(value, str) and (text := value.strip()):
        yield from _people_of_text(text, is_list, depth)


def _people_of_text(text: str, is_list: bool, depth: int) -> Iterator[str]:
    if match := ADDRESS.fullmatch(text[:1000]):
        yield _of_address(match)
    elif len(text) <= MAX_NAME_CHARACTERS:
        yield text
    if OBJECT.match(text) and depth and is_list:
        parsed = _parsed(text)
        if isinstance(parsed, str):
            yield from (name for _, name in _pieces(parsed))
            yield from (name for name in _texts(parsed) if len(name) <= MAX_NAME_CHARACTERS)
        else:
            yield from _people(parsed, is_list, depth - 1)
    elif is_list and HANDLES.fullmatch(text[:MAX_CELL_CHARACTERS]):
        yield from re.split(r"\s*[,;|]\s*", text)


def _of_address(match: re.Match[str]) -> str:
    if match[1]:
        return f"{match[2]}@{match[1]}"
    return "" if match[2].lower() in NOT_ACCOUNTS else match[2]


def _parsed(text: str) -> object:
    """Return the object of a JSON text; other texts as they are, up to MAX_CELL_CHARACTERS."""
    bounded = text[:MAX_CELL_CHARACTERS]
    try:
        parsed = json.loads(bounded)
    except (ValueError, RecursionError):
        return bounded
    return parsed if isinstance(parsed, dict | list) else bounded


def _items(value: dict[str, object]) -> Iterator[tuple[str, str]]:
    return ((key_of(key), name) for key, name in value.items() if isinstance(name, str))


def _pieces(text: str) -> Iterator[tuple[str, str]]:
    """Yield the keys of handles with their values, of an object that Python printed."""
    for match in PIECE.finditer(text):
        key, value = key_of(match[1] or match[2] or match[3] or ""), match[4] or ""
        if key in HANDLE_KEYS and value != "None":
            yield key, value[1:-1] if value[0] in "'\"" else value


def _texts(text: str) -> list[str]:
    """Return the texts of a list that Python printed, such as ['ann', 'ben']; none of an object."""
    return [quoted[1:-1] for quoted in re.findall(QUOTED, text)] if text[0] in "[(" and not next(_pieces(text), None) else []


def _only(names: list[str]) -> str | None:
    return names[0] if len(names) == 1 else None


def _first(found: Iterator[tuple[str, str]]) -> str | None:
    """Return the value of the most preferred key; None where no key is a handle's."""
    by_key: dict[str, str] = {}
    for key, name in found:
        if name.strip():
            by_key.setdefault(key, name)
    return next((by_key[key] for key in HANDLE_KEYS if key in by_key), None)
