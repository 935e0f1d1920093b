"""Write files and folders atomically, and compute digests of them."""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mynah.core.errors import InputError, PlatformError
from mynah.core.outputs import refuse_overlap


@contextlib.contextmanager
def atomic_folder(target: Path, inputs: Iterable[Path] = (), around: Iterable[Path] = ()) -> Iterator[Path]:
    """Yield an empty folder beside `target` that replaces it when the block succeeds, and is removed when it fails.

    Args:
        target: The folder to write; an existing one is replaced as a whole.
        inputs: The files and folders that the command reads.
        around: Folders in which `target` may lie, but which it may not replace, such as the work folder.

    Raises:
        InputError: `target` overlaps an input, or is a file, or a folder with anything other than a step's output.
        PlatformError: The disk is full or not writable.
    """
    refuse_foreign_folder(target, inputs, around)
    make_folder(target.parent)
    scratch = _temporary_sibling(target)
    try:
        try:
            with storage_errors(target):
                scratch.mkdir(mode=0o700)
        except OSError as error:  # a name that this file system rejects, such as ":" on a Windows disk
            raise _creation_error(target, error) from error
        with storage_errors(target):
            yield scratch
            (scratch / MARKER).write_text("written whole\n")
            _replace_folder(scratch, target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _temporary_sibling(path: Path) -> Path:
    """Return an unused hidden name beside `path`.

    The name is known before anything has it, unlike tempfile's, so that a signal at any moment leaves something with a known name to remove.
    """
    return path.with_name(f".{path.name}.tmp-{secrets.token_hex(4)}")


def make_folder(folder: Path) -> None:
    """Create `folder` with its parents if it does not exist. Raises PlatformError naming the part of the path that prevents it."""
    try:
        with storage_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:  # a file where a folder should be, a name too long, /proc
        raise _creation_error(folder, error) from error


def _creation_error(folder: Path, error: OSError) -> PlatformError:
    return PlatformError(f"the folder {folder} cannot be created: {error.strerror} ({error.filename})", "Name another folder.")


MARKER = ".mynah"  # marks a folder that a step wrote, and that a step may therefore replace
FINDER_FILE = ".DS_Store"  # written by macOS into every folder that the Finder shows


def refuse_foreign_folder(target: Path, inputs: Iterable[Path] = (), around: Iterable[Path] = ()) -> None:
    """Raise InputError when writing `target` would destroy what the command reads, or something that no step of Mynah wrote.

    Args:
        target: The folder to write.
        inputs: The files and folders that the command reads.
        around: Folders in which `target` may lie, but which it may not replace.
    """
    with storage_errors(target):
        is_file, is_dangling = target.is_file(), target.is_symlink() and not target.exists()
        is_full = target.is_dir() and any(path.name != FINDER_FILE for path in target.iterdir())
        is_foreign = is_full and not (target / MARKER).exists()
        is_here = target.is_dir() and target.samefile(Path.cwd())  # its path may be spelled differently: macOS ignores case
    if is_here:
        raise InputError(f"{target} is the folder you are in, and cannot be replaced", "Name a new folder with --out.")
    if is_dangling:
        raise InputError(f"{target} is a link to nothing", "Remove it, or name another folder with --out.")
    if is_file:
        raise InputError(f"{target} is a file, and the output is a folder", "Name another folder with --out.")
    if is_foreign:
        raise InputError(f"{target} is not empty and was not written by mynah", "Name an empty or a new folder with --out.")
    refuse_overlap(target, inputs, around)  # last: it reads the names in `target`


def _replace_folder(scratch: Path, target: Path) -> None:
    set_mode(scratch, 0o755)  # mkdtemp's 0700 would hide the output from a server that runs as another user
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


REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EBUSY, errno.ENAMETOOLONG)  # busy: a disk's root, or "."
REFUSED_NAMES = (errno.EINVAL, errno.EILSEQ)  # ":" on a Windows disk; names that are not UTF-8 on macOS
UNABLE = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)  # locks on network file systems
NO_MODES = (errno.EPERM, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)


def set_mode(path: Path, mode: int) -> None:
    """Set the permission bits of a file or folder, where its file system supports them.

    FAT, exFAT, many network disks and Windows' own under WSL do not: some accept the call and some reject it, and access was decided when the
    disk was mounted.
    """
    try:
        path.chmod(mode)
    except OSError as error:
        if error.errno not in NO_MODES:
            raise


def sync(path: Path) -> None:
    """Flush a file, or the names in a folder, so that they survive a power cut; some file systems cannot do so for a folder."""
    handle = os.open(path, os.O_RDONLY)
    try:
        if full := getattr(fcntl, "F_FULLFSYNC", None):  # macOS: its fsync(2) leaves data in the disk's cache
            with contextlib.suppress(OSError):  # unsupported on some network disks
                fcntl.fcntl(handle, full)
                return
        os.fsync(handle)
    except OSError as error:
        if not (path.is_dir() and error.errno in (errno.EINVAL, *UNABLE)):
            raise
    finally:
        os.close(handle)


def file_system_of(path: Path) -> str:
    """Return the type of the file system of `path`, such as ext4, apfs, exfat or nfs4; "" where unknown."""
    try:
        import psutil  # optional: of the extra `tracking`
    except ImportError:
        return ""
    kinds = {}
    with contextlib.suppress(OSError, RuntimeError, psutil.Error):
        kinds = {part.mountpoint: part.fstype for part in psutil.disk_partitions(all=True)}
    absolute = path.absolute()
    return next((kinds[str(folder)] for folder in (absolute, *absolute.parents) if str(folder) in kinds), "")


def _kind(path: Path) -> str:
    """Return the type of the file system of `path` in parentheses; "" where unknown."""
    kind = file_system_of(path)
    return f" ({kind})" if kind else ""


@contextlib.contextmanager
def storage_errors(target: Path) -> Iterator[None]:
    """Convert the operating system's write errors to a PlatformError that names `target` and the fix."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise PlatformError(
                f"no space left while writing {target}", f"Free some space on that disk and run again ({error})."
            ) from error
        if error.errno in REFUSED or (error.filename and error.errno in REFUSED_NAMES):
            raise PlatformError(
                f"{error.filename or target} cannot be written: {error.strerror}", "Name another folder."
            ) from error
        if error.errno in UNABLE:
            raise PlatformError(
                f"{target} is on a file system{_kind(target)} that cannot do what is needed: {error.strerror}",
                "Name a folder on a disk of this machine.",
            ) from error
        raise
    except Exception as error:  # safetensors and sqlite report a full disk without an OSError
        if any(words in str(error) for words in ("No space left on device", "os error 28", "disk is full")):
            raise PlatformError(f"no space left while writing {target}", "Free some space on that disk and run again.") from error
        raise


def path_exists(path: Path) -> bool:
    """Return whether something exists at `path`; False also for an invalid path, such as a name of 300 characters."""
    try:
        return path.exists()
    except OSError:
        return False


def is_writable(path: Path) -> bool:
    """Return whether this process may write an existing file, or create files in an existing folder: False on a read-only disk."""
    return os.access(path, os.W_OK, effective_ids=os.access in os.supports_effective_ids)


def require_space(folder: Path, needed: int, what: str) -> None:
    """Raise PlatformError unless a disk has enough free space. Call it before the work.

    Args:
        folder: A folder on the disk; it need not exist.
        needed: The bytes needed.
        what: What needs them, for the message.
    """
    existing = next(parent for parent in (folder, *folder.resolve().parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise PlatformError(
            f"{what} needs about {needed / 1e6:,.0f} MB and {existing} has {free / 1e6:,.0f} MB free",
            "Free some space on that disk, or name another folder.",
        )


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, all or nothing."""
    scratch = _temporary_sibling(path)
    with storage_errors(path):
        try:
            with scratch.open("x", encoding="utf-8", errors="replace") as file:
                file.write(text)
            set_mode(scratch, 0o644)
            scratch.replace(path)
        except BaseException:
            scratch.unlink(missing_ok=True)
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
    except (ValueError, RecursionError) as error:  # also: not UTF-8, a number of 4,300 digits, unbounded nesting
        raise InputError(f"{path} is not valid JSON: {error}", f"Run `mynah {made_by}` again to rewrite it.") from error


def write_lines(path: Path, records: Iterable[dict[str, Any]]) -> None:
    """Write one JSON object per line (JSONL). Half a surrogate pair, which JSON can hold and UTF-8 cannot, becomes `?`."""
    with path.open("w", encoding="utf-8", errors="replace") as file:
        for record in records:
            file.write(json.dumps(record, ensure_ascii=False) + "\n")


def read_lines(path: Path, made_by: str, parse: Callable[[str], Any] = json.loads) -> Iterator[dict[str, Any]]:
    """Read the JSONL that the step `made_by` wrote, each line by `parse`. Raises InputError naming the file and the line."""
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                try:
                    yield parse(line)
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
    """Return the SHA-256 of a file, or of a folder's visible files with their relative names, as 64 hexadecimal digits."""
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    visible = sorted(p for p in path.rglob("*") if p.is_file() and not p.name.startswith("."))
    return digest_of({file_path.relative_to(path).as_posix(): digest(file_path) for file_path in visible})


def digest_of(digests: Mapping[str, str]) -> str:
    """Return one SHA-256 over files' names and their SHA-256s, in the order of their paths."""
    total = hashlib.sha256()
    for name, file_digest in sorted(digests.items(), key=lambda item: item[0].split("/")):
        total.update(f"{name}\0{file_digest}\n".encode())
    return total.hexdigest()
