"""The server's log on stderr: a line per request and per failure, as JSON, or in a short form on a terminal.

No line contains a prompt or an answer unless the operator enables prompts, none contains a key, and none can contain a control character.
"""

import json
import logging
import sys
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TextIO

from mynah.core.errors import MynahError

MAX_VALUE_LENGTH = 200  # characters of a value that a client can choose, such as a name or path
MAX_PROMPT_LENGTH = 2000
# Exceptions whose messages are about the machine. Those of others can quote values, among them prompts.
SAFE_EXCEPTIONS = (OSError, MemoryError, RuntimeError, MynahError)
ORDER = ("status", "method", "path", "bot", "tokens", "seconds", "tenant", "key", "id")


class Log:
    """The log of this process, which handles Python's `logging` until `close`.

    Args:
        stream: where lines go; None is stderr.
        as_json: whether lines are JSON; None means JSON unless `stream` is a terminal.
        prompts: whether to log prompts.
    """

    def __init__(self, stream: TextIO | None = None, as_json: bool | None = None, prompts: bool = False) -> None:
        stream = stream or sys.stderr
        as_json = not stream.isatty() if as_json is None else as_json
        self.prompts = prompts
        self._handler = logging.StreamHandler(stream)
        self._handler.setFormatter(_Json(prompts) if as_json else _Short(prompts))
        self._logger = logging.getLogger("mynah")
        self._previous_level = self._logger.level
        self._logger.setLevel(logging.INFO)
        logging.getLogger().addHandler(self._handler)

    def request(self, fields: Mapping[str, object]) -> None:
        """Log a line about a request; empty `fields` are omitted."""
        status = fields.get("status")
        level = logging.ERROR if isinstance(status, int) and status >= 500 and status != 503 else logging.INFO
        values = {name: _short(value) for name, value in fields.items() if value not in ("", None) and name != "prompts"}
        prompts = fields.get("prompts")
        if self.prompts and isinstance(prompts, list | tuple):
            values["prompts"] = [str(prompt)[:MAX_PROMPT_LENGTH] for prompt in prompts]
        self._logger.log(level, "request", extra={"fields": values})

    def close(self) -> None:
        """Restore the previous state of `logging`."""
        logging.getLogger().removeHandler(self._handler)
        self._logger.setLevel(self._previous_level)


def _short(value: object) -> object:
    if isinstance(value, float):
        return round(value, 4)
    return value if isinstance(value, int) else str(value)[:MAX_VALUE_LENGTH]


class _Formatter(logging.Formatter):
    def __init__(self, prompts: bool) -> None:
        super().__init__()
        self._quotes_values = prompts

    def describe_exception(self, record: logging.LogRecord) -> str:
        """Return types and stack frames of an exception and its causes; messages only where these cannot quote a request."""
        if not record.exc_info or record.exc_info[1] is None:
            return ""
        causes: list[str] = []
        error: BaseException | None = record.exc_info[1]
        while error is not None and len(causes) < 5:  # from the outermost to its cause
            frames = traceback.extract_tb(error.__traceback__)[-8:]
            where = " > ".join(f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}" for frame in frames)
            message = f": {error}" if self._quotes_values or isinstance(error, SAFE_EXCEPTIONS) else ""
            causes.append(f"{type(error).__name__}{message} ({where})")
            error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        return "; because of ".join(causes)


class _Json(_Formatter):
    def format(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, object] = {"time": when, "level": record.levelname.lower(), "message": record.getMessage()}
        line |= getattr(record, "fields", {})
        if describe_exception := self.describe_exception(record):
            line["error"] = describe_exception
        if record.name != "mynah":
            line["logger"] = record.name
        return json.dumps(line)  # ASCII only, so no control and no bidirectional characters


class _Short(_Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = getattr(record, "fields", None)
        parts = [datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")]
        if record.levelno >= logging.WARNING:
            parts.append(record.levelname.lower())
        if fields is None:
            parts += [record.getMessage(), self.describe_exception(record)]
        else:
            units = {"seconds": "s", "tokens": "tokens"}
            parts += [f"{fields[name]} {units.get(name, '')}".strip() for name in ORDER if name in fields]
            parts += [f"{prompt!r}" for prompt in fields.get("prompts", ())]
        return printable(" ".join(word for word in parts if word))


def printable(text: str) -> str:
    """Return `text` with control and bidirectional characters as escape sequences."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
