"""Posts that cannot be used: left out, counted, and reported with their places. One record's fault is not its file's."""

from collections.abc import Callable, Iterable, Iterator

from components.fetch import untrusted_json
from mynah.core.errors import InputError
from mynah.core.progress import notify
from mynah.data.posts import Post

SHOWN = 3  # places in a warning


class WholeFileError(InputError):
    """The fault of a record that makes the others doubtful too: it is not left out, but refuses the file."""


class SkippedPosts:
    """Counts the posts of `source` that cannot be used, for one warning."""

    def __init__(self, source: str) -> None:
        self._source, self._count = source, 0
        self._shown: list[str] = []

    def add(self, identity: str, reason: str) -> None:
        """Count one more post, with its id or place and the reason why it cannot be used."""
        self._count += 1
        if len(self._shown) < SHOWN:
            place = untrusted_json.message_text(identity.removeprefix(f"{self._source}, "))
            self._shown.append(f"{place[:80] or 'one without an id'}: {untrusted_json.message_text(reason)}")

    def finish(self, used: int, fix: str) -> None:
        """Print the warning about a file's skipped posts.

        Args:
            used: The number of the posts that were used.
            fix: What to do where there are none.

        Raises:
            InputError: Posts were skipped, and none was used: then the file is not what it seems to be.
        """
        if self._count and not used:
            number = "its only post" if self._count == 1 else f"none of its {self._count:,} posts"
            verb = "cannot" if self._count == 1 else "can"
            raise InputError(f"{self._source}: {number} {verb} be used ({'; '.join(self._shown)})", fix)
        self.warn()

    def warn(self) -> None:
        """Print the warning, if any post was skipped."""
        if self._count:
            number = "1 post" if self._count == 1 else f"{self._count:,} posts"
            more = "; …" if self._count > len(self._shown) else ""
            notify(f"{self._source}: skipped {number} ({'; '.join(self._shown)}{more})", "warning")


def usable_posts(source: str, conversions: Iterable[Callable[[], Post]]) -> Iterator[Post]:
    """Yield the posts of those records of a file that can be converted, and warn of the others.

    Args:
        source: The file's name, for the warning.
        conversions: Converts a record each, or raises InputError, whose problem begins with the record's place.

    Yields:
        The posts.

    Raises:
        WholeFileError: A record's fault is the file's.
        InputError: The first record's fault, where no record can be converted: then the file is of another kind.
    """
    skipped, is_empty = SkippedPosts(source), True
    first: InputError | None = None
    for convert in conversions:
        try:
            post = convert()
        except WholeFileError:
            raise
        except InputError as error:
            first = first or error
            place, _, reason = error.problem.removeprefix(f"{source}, ").partition(": ")
            skipped.add(place, reason)
        else:
            is_empty = False
            yield post
    if first and is_empty:
        raise first
    skipped.warn()
