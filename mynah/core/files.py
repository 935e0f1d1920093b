"""Writing that leaves nothing half-done, and digests of what was written."""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from components.errors import InputError, PlatformError


@contextlib.contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """Yield an empty folder beside `target` that takes its place when the block ends well, and vanishes when it doesn't.

    A `target` that exists is replaced whole. Raises PlatformError when the disk is full or not writable, and InputError
    when `target` is a file, or a folder that holds something other than a step's output.
    """
    refuse_foreign_folder(target)
    make_folder(target.parent)
    with storage_errors(target):
        scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}.tmp-", dir=target.parent))
    try:
        with storage_errors(target):
            yield scratch
            (scratch / MARKER).write_text("written whole\n")
            _replace_folder(scratch, target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def make_folder(folder: Path) -> None:
    """Make `folder` with its parents where it is not there. Raises PlatformError naming the part of the path that stands in the way."""
    try:
        with storage_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:  # a file where a folder should be, a name too long, /proc
        raise PlatformError(
            f"the folder {folder} cannot be made: {error.strerror} ({error.filename})", "Name another folder."
        ) from error


MARKER = ".mynah"  # marks a folder that a step wrote, and that a step may therefore replace


def refuse_foreign_folder(target: Path) -> None:
    """Raise InputError when writing `target` would destroy something that no step of Mynah wrote."""
    with storage_errors(target):
        is_file, is_foreign = target.is_file(), target.is_dir() and any(target.iterdir()) and not (target / MARKER).exists()
        is_here, is_dangling = target.resolve() == Path.cwd(), target.is_symlink() and not target.exists()
    if is_here:
        raise InputError(f"{target} is the folder you are in, and cannot be replaced", "Name a new folder with --out.")
    if is_dangling:
        raise InputError(f"{target} is a link to nothing", "Remove it, or name another folder with --out.")
    if is_file:
        raise InputError(f"{target} is a file, and the output is a folder", "Name another folder with --out.")
    if is_foreign:
        raise InputError(f"{target} is not empty and was not written by mynah", "Name an empty or a new folder with --out.")


def _replace_folder(scratch: Path, target: Path) -> None:
    scratch.chmod(0o755)  # mkdtemp's 0700 would hide the output from a server that runs as somebody else
    if not target.exists():
        scratch.rename(target)
        return
    aside = Path(tempfile.mkdtemp(prefix=f".{target.name}.old-", dir=target.parent))  # rename(2) cannot replace a full folder
    try:
        target.rename(aside / "old")
        scratch.rename(target)
    except BaseException:
        if (aside / "old").exists() and not target.exists():
            (aside / "old").rename(target)
        raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


@contextlib.contextmanager
def storage_errors(target: Path) -> Iterator[None]:
    """Turn the operating system's refusals to write into a PlatformError that names `target` and the fix."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise PlatformError(
                f"no space left while writing {target}", f"Free some space on that disk and run again ({error})."
            ) from error
        if error.errno in (
            errno.EACCES,
            errno.EPERM,
            errno.EROFS,
            errno.EBUSY,
            errno.ENAMETOOLONG,
        ):  # busy: a disk's root, or "."
            raise PlatformError(
                f"{error.filename or target} cannot be written: {error.strerror}", "Name another folder."
            ) from error
        raise
    except Exception as error:  # safetensors and sqlite tell of a full disk in words of their own, not by an OSError
        if any(words in str(error) for words in ("No space left on device", "os error 28", "disk is full")):
            raise PlatformError(f"no space left while writing {target}", "Free some space on that disk and run again.") from error
        raise


def there_is(path: Path) -> bool:
    """Whether something lies at `path`; False also for what cannot be a path at all, such as a name of 300 characters."""
    try:
        return path.exists()
    except OSError:
        return False


def require_space(folder: Path, needed: int, what: str) -> None:
    """Raise PlatformError unless the disk that holds `folder` has `needed` bytes free; ask before the work, not after."""
    existing = next(parent for parent in (folder, *folder.resolve().parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise PlatformError(
            f"{what} needs about {needed / 1e6:,.0f} MB and {existing} has {free / 1e6:,.0f} MB free",
            "Free some space on that disk, or name another folder.",
        )


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, all or nothing."""
    with storage_errors(path):
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.tmp-", dir=path.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8", errors="replace") as file:
                file.write(text)
            Path(name).chmod(0o644)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


def write_json(path: Path, value: object) -> None:
    """Write `value` as indented JSON, all or nothing."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path, made_by: str) -> Any:  # noqa: ANN401 - JSON is any of its types; the caller builds a typed object
    """Read a JSON file that the step `made_by` wrote. Raises InputError when it is missing or not JSON."""
    try:
        return json.loads(path.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(f"{path.parent} has no {path.name}", f"Is it a folder that `mynah {made_by}` wrote?") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}", "Make it a readable file.") from error
    except (ValueError, RecursionError) as error:  # also: not UTF-8, a number of 4,300 digits, nested without end
        raise InputError(f"{path} is not valid JSON: {error}", f"Run `mynah {made_by}` again to write it anew.") from error


def write_lines(path: Path, records: Iterable[dict[str, Any]]) -> None:
    """Write one JSON object a line (JSONL). Half a surrogate pair, which JSON can hold and UTF-8 can't, becomes `?`."""
    with path.open("w", encoding="utf-8", errors="replace") as file:
        for record in records:
            file.write(json.dumps(record, ensure_ascii=False) + "\n")


def read_lines(path: Path, made_by: str) -> Iterator[dict[str, Any]]:
    """Read the JSONL that the step `made_by` wrote. Raises InputError naming the file and the line."""
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                try:
                    yield json.loads(line)
                except (ValueError, RecursionError) as error:
                    raise InputError(
                        f"{path}, line {number}: not valid JSON: {error}", f"Run `mynah {made_by}` again."
                    ) from error
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(f"{path.parent} has no {path.name}", f"Is it a folder that `mynah {made_by}` wrote?") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}", "Make it a readable file.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8: {error}", f"Run `mynah {made_by}` again.") from error


def digest(path: Path) -> str:
    """The SHA-256 of a file, or of a folder's visible files with their relative names, as 64 hexadecimal digits."""
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    visible = sorted(p for p in path.rglob("*") if p.is_file() and not p.name.startswith("."))
    return digest_of({file_path.relative_to(path).as_posix(): digest(file_path) for file_path in visible})


def digest_of(digests: Mapping[str, str]) -> str:
    """One SHA-256 over files' names and their SHA-256s, in the order of their paths."""
    total = hashlib.sha256()
    for name, found in sorted(digests.items(), key=lambda item: item[0].split("/")):
        total.update(f"{name}\0{found}\n".encode())
    return total.hexdigest()
