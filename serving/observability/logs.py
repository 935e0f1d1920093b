"""What a server writes on stderr: one line per request and whatever went wrong, as JSON, or short on a terminal.

No line holds a prompt or an answer unless the operator asks for prompts, none holds a key, and none can hold a control character.
"""

import json
import logging
import sys
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TextIO

from components.errors import MynahError

LONGEST = 200  # characters of a name or path that a caller made up
LONGEST_PROMPT = 2000
# Exceptions whose messages are about the machine. Others quote the values they choked on, and those may be a prompt.
TELLING = (OSError, MemoryError, RuntimeError, MynahError)
ORDER = ("status", "method", "path", "bot", "tokens", "seconds", "tenant", "key", "id")


class Log:
    """The log of this process: it takes over what Python's `logging` and uvicorn have to say until `close`.

    `as_json` None means JSON unless `stream` (stderr where none is given) is a terminal.
    """

    def __init__(self, stream: TextIO | None = None, as_json: bool | None = None, prompts: bool = False) -> None:
        stream = stream or sys.stderr
        as_json = not stream.isatty() if as_json is None else as_json
        self.prompts = prompts
        self._handler = logging.StreamHandler(stream)
        self._handler.setFormatter(_Json(prompts) if as_json else _Short(prompts))
        self._ours = logging.getLogger("mynah")
        self._before = self._ours.level
        self._ours.setLevel(logging.INFO)
        logging.getLogger().addHandler(self._handler)

    def request(self, fields: Mapping[str, object]) -> None:
        """One line about a request; `fields` are the names and values to show, and empty ones are left out."""
        status = fields.get("status")
        level = logging.ERROR if isinstance(status, int) and status >= 500 and status != 503 else logging.INFO
        shown = {name: _short(value) for name, value in fields.items() if value not in ("", None) and name != "prompts"}
        prompts = fields.get("prompts")
        if self.prompts and isinstance(prompts, list | tuple):
            shown["prompts"] = [str(prompt)[:LONGEST_PROMPT] for prompt in prompts]
        self._ours.log(level, "request", extra={"fields": shown})

    def close(self) -> None:
        """Give `logging` back as it was."""
        logging.getLogger().removeHandler(self._handler)
        self._ours.setLevel(self._before)


def _short(value: object) -> object:
    if isinstance(value, float):
        return round(value, 4)
    return value if isinstance(value, int) else str(value)[:LONGEST]


class _Formatter(logging.Formatter):
    def __init__(self, prompts: bool) -> None:
        super().__init__()
        self._quotes_values = prompts

    def fault(self, record: logging.LogRecord) -> str:
        """Where in the code an exception arose, and of what kind it is; its message only where that cannot quote a request."""
        if not record.exc_info or record.exc_info[1] is None:
            return ""
        told: list[str] = []
        error: BaseException | None = record.exc_info[1]
        while error is not None and len(told) < 5:  # from the outermost to its cause
            frames = traceback.extract_tb(error.__traceback__)[-8:]
            where = " > ".join(f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}" for frame in frames)
            message = f": {error}" if self._quotes_values or isinstance(error, TELLING) else ""
            told.append(f"{type(error).__name__}{message} ({where})")
            error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        return "; because of ".join(told)


class _Json(_Formatter):
    def format(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, object] = {"time": when, "level": record.levelname.lower(), "message": record.getMessage()}
        line |= getattr(record, "fields", {})
        if fault := self.fault(record):
            line["error"] = fault
        if record.name != "mynah":
            line["logger"] = record.name
        return json.dumps(line)  # ASCII only: no control character gets through, nor one that turns text around


class _Short(_Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = getattr(record, "fields", None)
        words = [datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")]
        if record.levelno >= logging.WARNING:
            words.append(record.levelname.lower())
        if fields is None:
            words += [record.getMessage(), self.fault(record)]
        else:
            units = {"seconds": "s", "tokens": "tokens"}
            words += [f"{fields[name]} {units.get(name, '')}".strip() for name in ORDER if name in fields]
            words += [f"{prompt!r}" for prompt in fields.get("prompts", ())]
        return printable(" ".join(word for word in words if word))


def printable(text: str) -> str:
    """`text` with what could command a terminal, or turn its text around, spelt as an escape."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
