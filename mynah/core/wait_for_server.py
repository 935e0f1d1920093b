"""Wait for a server that a process meets for the first time: a new pod's first connections may be refused.

A policy engine lets a new pod through some seconds after it starts, and `kubectl port-forward` listens some seconds after it was called.
What passes by itself is waited for: a connection that is refused, cut or times out, a name server that does not answer, a gateway that
answers 502, 503 or 504. An unknown host name, a refused login, a missing bucket and a certificate that is not trusted stay as they are, and
fail at once.
"""

import errno
import http.client
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from mynah.core.progress import notify
from mynah.core.settings import KUBERNETES_SERVICE_HOST, MYNAH_WAIT_SECONDS

Answer = TypeVar("Answer")

SECONDS_IN_POD = 60.0
SECONDS_ELSEWHERE = 4.0  # a person waits for the error
SHORT = 5.0  # a limit in seconds below which the wait is not worth a message
PAUSE = 1.0  # seconds between two tries
BUSY = (502, 503, 504)  # a gateway without a server behind it
PASSING = (
    errno.EHOSTUNREACH,
    errno.ENETUNREACH,
    errno.ECONNREFUSED,
    errno.ECONNRESET,
    errno.EPIPE,
    errno.ENOTCONN,
    errno.ETIMEDOUT,
)
# libpq has only texts, which are English in a program that sets no language of messages, as Python's
POSTGRES_PASSING = (
    "Connection refused", "Connection reset", "Broken pipe", "Connection timed out", "timeout expired", "server closed the connection",
    "No route to host", "Network is unreachable", "Temporary failure in name resolution",
)  # fmt: skip
POSTGRES_STARTS = "the database system is starting up"
_told: set[str] = set()  # the servers whose wait this process has reported: each of a process's clients waits for itself


def seconds_to_wait() -> float:
    """Return for how long a process waits for a server: MYNAH_WAIT_SECONDS, or 60 s in a pod and 4 s elsewhere."""
    given = MYNAH_WAIT_SECONDS.get()
    if given is not None:
        return given
    return SECONDS_IN_POD if KUBERNETES_SERVICE_HOST.get() else SECONDS_ELSEWHERE


class ServerWait:
    """The wait for one server, which ends for good when it answers for the first time.

    Args:
        server: The server's name and address, for the message.
    """

    def __init__(self, server: str) -> None:
        self._server = server
        self._started: float | None = None
        self._is_over = False

    def begin(self) -> None:
        """Start the clock, at the first try."""
        self._started = self._started or time.monotonic()

    def answered(self) -> None:
        """End the wait: later errors are not those of a beginning."""
        self._is_over = True

    def pause_after(self, error: BaseException | None) -> float | None:
        """Return after how many seconds to try again; None where that does not help, or the time is over.

        The first call for a server reports the wait.

        Args:
            error: What the last try raised.
        """
        if self._is_over or error is None or not passes(error):
            return None
        self.begin()
        assert self._started
        limit = seconds_to_wait()
        if time.monotonic() - self._started + PAUSE > limit:
            self._is_over = True
            return None
        if limit > SHORT and self._server not in _told:
            _told.add(self._server)
            notify(f"waiting up to {limit:.0f} s for {self._server}, which cannot be reached yet")
        return PAUSE


def when_reachable(attempt: Callable[[], Answer], server: str | ServerWait) -> Answer:
    """Return what `attempt` returns, and call it again while its server cannot be reached.

    Args:
        attempt: Asks the server something that may be asked twice. What it raises is examined with its causes, and raised in the end.
        server: The server's name and address for the message, or a wait that several attempts share.
    """
    wait = server if isinstance(server, ServerWait) else ServerWait(server)
    wait.begin()
    while True:
        try:
            answer = attempt()
        except Exception as error:
            pause = wait.pause_after(error)
            if pause is None:
                raise
            time.sleep(pause)
        else:
            wait.answered()
            return answer


def passes(error: BaseException) -> bool:
    """Return whether an error, or what caused it, is one of a server that cannot be reached yet."""
    verdicts = [verdict for link in _chain(error) if (verdict := _judge(link)) is not None]
    return bool(verdicts) and all(verdicts)


def _judge(error: BaseException) -> bool | None:
    """Return whether an error passes by itself; None where it does not tell."""
    if isinstance(error, ssl.SSLError):
        return isinstance(error, ssl.SSLEOFError)  # cut during the handshake
    if isinstance(error, socket.gaierror):
        return error.errno == socket.EAI_AGAIN  # the name server does not answer: not a name that does not exist
    if isinstance(error, TimeoutError | ConnectionError | http.client.HTTPException) or _is_botocore_failure(error):
        return True
    if isinstance(error, OSError) and error.errno in PASSING:
        return True
    if hasattr(error, "pgcode"):  # psycopg2
        text = str(error)
        return POSTGRES_STARTS in text if "FATAL" in text else any(passing in text for passing in POSTGRES_PASSING)
    status = _http_status(error)
    return status in BUSY if status else None


def _is_botocore_failure(error: BaseException) -> bool:
    """Return whether botocore had no answer, whatever the cause; a cause that stays has a verdict of its own."""
    return any(kind.__name__ == "HTTPClientError" for kind in type(error).__mro__)


def _http_status(error: Any) -> int:  # noqa: ANN401 - of requests, urllib3 or kfp's client
    """Return the HTTP status that an error carries; 0 for none."""
    status = getattr(error, "status", None) or getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) else 0


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and everything that caused it, in whatever attribute the library keeps it."""
    seen: set[int] = set()
    waiting: list[object] = [error]
    while waiting:
        link = waiting.pop()
        if not isinstance(link, BaseException) or id(link) in seen:
            continue
        seen.add(id(link))
        yield link
        waiting += [link.__cause__, link.__context__, getattr(link, "reason", None), getattr(link, "orig", None), *link.args]
