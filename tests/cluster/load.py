"""People who ask a bot all the time, while its champion changes."""

import threading
import time
from collections import Counter
from collections.abc import Callable

from tests.cluster.commands import Answer

PEOPLE = 4
PAUSE = 0.05  # seconds between two questions of one of them


class Load:
    """Asks from several threads until it is left. `failures` holds every answer that is none, `versions` who gave the others."""

    def __init__(self, ask: Callable[[], Answer], *, dry_run: bool = False) -> None:
        self._ask = ask
        self._dry_run = dry_run
        self._over = threading.Event()
        self._people = [threading.Thread(target=self._go_on, daemon=True) for _ in range(PEOPLE)]
        self.versions: Counter[str] = Counter()
        self.failures: list[Answer] = []

    def __enter__(self) -> "Load":
        if self._dry_run:
            self._ask()
        else:
            for person in self._people:
                person.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for person in self._people:
            if person.ident:
                person.join(90)

    def sees(self, version: str, seconds: float = 120) -> None:
        """Wait until `version` has answered one of them. Raises AssertionError when it does not in time."""
        deadline = time.monotonic() + seconds
        while not self._dry_run and not self.versions[version]:
            told = f"{version} answered nobody in {seconds:.0f} s, but {dict(self.versions)} did; failures: {self.failures[:3]}"
            assert time.monotonic() < deadline, told
            time.sleep(0.1)

    def _go_on(self) -> None:
        while not self._over.is_set():
            answer = self._ask()
            if answer.status == 200:
                self.versions[answer.version] += 1
            else:
                self.failures.append(answer)
            self._over.wait(PAUSE)
