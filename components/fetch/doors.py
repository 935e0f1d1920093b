"""Each source's own way in: which function opens it. What the networks' ways need is imported only where one is asked for."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from components.fetch.archives import Archive, open_archive
from components.fetch.mastodon_archive import OUTBOX, open_outbox
from components.fetch.parquet import read_parquet
from components.fetch.sources import Content, Source
from components.fetch.tables import read_csv, read_jsonl
from components.fetch.tar_archive import is_tar, open_tar
from components.fetch.x_export import is_modern, read_export
from components.fetch.x_old import is_old, read_old
from components.fetch.x_price import Spend

TABLES: dict[str, Callable[[Path, str], Content]] = {"csv": read_csv, "jsonl": read_jsonl, "parquet": read_parquet}


@contextlib.contextmanager
def opened(source: Source, limit: int, spend: Spend) -> Iterator[Content]:
    """What `source` holds, while the block runs. `limit` and `spend` are for accounts of X: what is not asked for is not paid.

    Raises InputError or PlatformError as the source's own module says.
    """
    if source.form == "archive" and is_tar(source.path):
        with open_tar(source.path, source.name) as tar:
            yield open_outbox(tar)
    elif source.form == "archive":
        with open_archive(source.path, source.name) as archive:
            yield _of_archive(archive, Path(source.name).stem)
    elif source.form in TABLES:
        yield TABLES[source.form](source.path, source.name)
    elif source.form == "car":
        from components.fetch.bluesky import open_car

        yield open_car(source.path)
    elif source.form == "x":
        from components.fetch.x_api import open_timeline

        yield open_timeline(source.address, limit, spend)
    elif source.form == "bsky":
        from components.fetch.bluesky import open_feed

        yield open_feed(source.address)
    else:
        from components.fetch.mastodon import open_account

        yield open_account(source.address)


def _of_archive(archive: Archive, stem: str) -> Content:
    if is_modern(archive):
        return read_export(archive, stem)
    if is_old(archive):
        return read_old(archive, stem)
    if any(name.rpartition("/")[2] == OUTBOX for name in archive.names):
        return open_outbox(archive)
    return read_export(archive, stem)  # which says what it misses
