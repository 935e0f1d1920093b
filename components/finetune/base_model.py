"""The base model: `fledgling`, which ships with Mynah, a folder, or a GPT-2 of the Hugging Face hub."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from components.checkpoint import check_folder
from components.errors import InputError, PlatformError
from components.files import digest

if TYPE_CHECKING:
    import httpx

FLEDGLING = "fledgling"
FLEDGLING_FOLDER = Path(__file__).parent / FLEDGLING
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?", re.ASCII)
HUB_SECONDS = 10.0  # to connect, and for each part of an answer
# Weights as safetensors only, and nothing that could be executed.
WANTED = ["config.json", "generation_config.json", "model*.safetensors", "model.safetensors.index.json", "tokenizer.json",
          "tokenizer_config.json", "special_tokens_map.json", "vocab.json", "merges.txt"]  # fmt: skip


@dataclass(frozen=True, slots=True)
class BaseModel:
    """A base model on disk. `name` is what the card says: of a folder its last part, never the whole path."""

    name: str
    folder: Path
    revision: str = ""  # the hub's commit; "" for a folder

    @property
    def weights_digest(self) -> str:
        """SHA-256 over the weight files."""
        return "+".join(digest(path)[:32] for path in sorted(self.folder.glob("*.safetensors")))


def resolve(name: str) -> BaseModel:
    """Find the base model called `name`, downloading it when it is a hub name (with HF_HUB_OFFLINE=1: from the cache only).

    Raises InputError when it does not exist or is no whole GPT-2 checkpoint, PlatformError when the hub cannot be reached.
    """
    if name == FLEDGLING:
        return _checked(BaseModel(FLEDGLING, FLEDGLING_FOLDER))
    if os.path.isdir(name):  # noqa: PTH112 - Path("").is_dir() is true, and Path.is_dir raises for a name too long
        return _checked(BaseModel(Path(name).resolve().name, Path(name)))
    if not HUB_NAME.fullmatch(name) or name.startswith((".", "/")):
        raise InputError(
            f"there is no base model {name!r}: no such folder, and no hub name", f"Use {FLEDGLING}, gpt2 or a folder."
        )
    return _checked(_download(name))


def _checked(base: BaseModel) -> BaseModel:
    check_folder(base.folder)
    return base


def _impatient(request: "httpx.Request") -> None:
    """Give a request of huggingface_hub that would wait for ever (it asks for a model's files with timeout=None) a deadline."""
    if not any(request.extensions.get("timeout", {}).values()):
        request.extensions["timeout"] = dict.fromkeys(("connect", "read", "write", "pool"), HUB_SECONDS)


def _download(name: str) -> BaseModel:
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

    offline = f"Use --base-model {FLEDGLING}, a folder, or a network."
    get_session().event_hooks["request"].append(_impatient)
    try:
        folder = Path(snapshot_download(name, allow_patterns=WANTED))
    except (RepositoryNotFoundError, GatedRepoError, HFValidationError) as error:
        raise InputError(
            f"the hub has no model {name!r} that may be read ({type(error).__name__})",
            f"Check its name; for a private model set HF_TOKEN. Without the hub: --base-model {FLEDGLING}.",
        ) from error
    except (LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
        raise PlatformError(f"{name!r} is neither a folder nor in the cache, and the hub cannot be reached", offline) from error
    except (HfHubHTTPError, httpx.HTTPError, OSError) as error:
        if isinstance(error, HfHubHTTPError) and error.response.status_code in (401, 403):
            raise InputError(
                f"the hub does not let you read {name!r} ({error.response.status_code})",
                "Set HF_TOKEN to a token that may, or unset it.",
            ) from error
        cause = str(error).strip().split("\n")[0][:160]
        raise PlatformError(f"the hub did not give the model {name!r}: {cause}", offline) from error
    return BaseModel(name, folder, folder.name)
