"""Undo the escapes of file formats: HTML entities, JSON's backslashes, and the _x000D_ of spreadsheets. Nobody wrote them.

An escape in a text shows that a program wrote the text once more often than another read it. What a person may have typed stays: a Windows
path, a line of code, the name of an entity without its semicolon.
"""

import html
import html.entities
import json
import re

# Entities as platforms write them, with a semicolon: without one it is a person's "AT&T" or "this&that".
ENTITY = re.compile(r"&(?:#[0-9]{1,8}|#[xX][0-9a-fA-F]{1,8}|[A-Za-z][A-Za-z0-9]{1,31});")
AMPERSANDS = re.compile(r"&(?:(?:amp|AMP|#0{0,9}38|#[xX]0{0,9}26);)+")  # escaped once or more: some exports escape twice
OVERLONG = re.compile(r"&#[0-9]{9,};?")  # not a code point, and Python refuses numbers of 4,300 digits
# Office Open XML's escape of a UTF-16 code unit that XML cannot hold (ECMA-376, 22.9.2.19, ST_Xstring); libraries pass it on.
OFFICE = re.compile(r"(?:_x[0-9A-Fa-f]{4}_)+")
# RFC 8259, section 7. A text is JSON's only if it could stand between the quotation marks of a string as it is.
JSON_BODY = re.compile(r'(?:[^"\\]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*')
JSON_ONLY = re.compile(r'\\(?:u[0-9a-fA-F]{4}|"|/)')  # what nobody types; "\n" alone may be a path or code
UNICODE_ESCAPES = re.compile(r"(?<!\\)(?:\\u[0-9a-fA-F]{4})+")
# Line breaks between words of a text that has no other escape: not the ones of C:\new, nor those that code or a sentence about code names.
LINE_BREAK = re.compile(r"(?<=[^\s\\:\"'`(])(?:(?:\\r)?\\n)+(?=[A-ZÀ-ÖØ-Þ#@]|\s*$)")


def unescape(text: str) -> str:
    """Replace escapes by their characters, HTML entities also where they were escaped more than once."""
    if "\\" in text:
        text = _unescape_json(text)
    if "_x" in text:
        text = OFFICE.sub(_code_units, text)
    if "&" not in text:
        return text
    plain = AMPERSANDS.sub("&", OVERLONG.sub(" ", text))
    return ENTITY.sub(_character, plain)


def _character(entity: re.Match[str]) -> str:
    """Decode one entity. html.unescape would also decode a name's beginning: `&notes;` to `¬es;`."""
    text = entity.group()
    return html.unescape(text) if text[1] == "#" or text[1:] in html.entities.html5 else text


def _code_units(escapes: re.Match[str]) -> str:
    """Decode adjacent escapes of code units: an emoji has two."""
    return _utf16(escapes.group().replace("_x", "").replace("_", ""))


def _utf16(digits: str) -> str:
    return bytes.fromhex(digits).decode("utf-16-be", "replace")


def _unescape_json(text: str) -> str:
    """Decode a text that is a string of JSON, with or without its quotation marks, and else the letters that it has as \\u2019."""
    body = text.strip()
    quoted = len(body) > 1 and body[0] == body[-1] == '"' and JSON_BODY.fullmatch(body, 1, len(body) - 1)
    if quoted:
        return str(json.loads(body, strict=False))
    if JSON_ONLY.search(body) and JSON_BODY.fullmatch(body):
        return str(json.loads(f'"{body}"', strict=False))
    text = UNICODE_ESCAPES.sub(lambda escapes: _utf16(escapes.group().replace("\\u", "")), text)
    return LINE_BREAK.sub("\n", text)
