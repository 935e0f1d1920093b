"""Check the base models of adapters in the artifact store, and find those that no adapter needs any more."""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mynah.core.errors import MynahError
from mynah.core.files import digest
from mynah.mlflow_client.store import Store
from mynah.registry.base_store import base_faults, bases_uri, open_base, stored_bases, used_bases
from mynah.registry.registry import Registry
from mynah.storage.base import ArtifactStore
from mynah.storage.manifest import BASES, VERSIONS, read_manifest
from mynah.storage.open import direct_uri

if TYPE_CHECKING:
    from mynah.kubernetes.endpoint import Endpoint


@dataclass(frozen=True, slots=True)
class BaseState:
    """A base model in the store, or one that an adapter refers to."""

    about: str
    problem: str  # "" for none
    fix: str


def examine_bases(store: Store, *, deep: bool) -> Iterator[BaseState]:
    """Yield the state of every base model that is stored, or that an adapter refers to.

    Args:
        store: The tracking store.
        deep: Read every file, and compare its digest.

    Raises:
        PlatformError: The store does not respond.
    """
    stored, used = stored_bases(store), used_bases(store)
    for base_digest in sorted({*stored, *used}):
        source, adapters = open_base(store, base_digest), used.get(base_digest, 0)
        count = f"{adapters:,} adapter{'' if adapters == 1 else 's'}"
        about = f"base model {base_digest[:12]}… of {count} ({stored.get(base_digest, 0) / 1e6:,.1f} MB)"
        if not adapters:
            yield BaseState(about, "no adapter refers to it", "`mynah prune` removes it.")
            continue
        again = "Register an adapter of the same base model: that stores it again."
        try:
            problems = base_faults(source, base_digest) or (changed_files(source, BASES) if deep else [])
            if problems and base_digest in stored and deep:
                again = f"Remove {source.uri}, and register an adapter of the same base model: that stores it again."
            yield BaseState(about, "; ".join([f"in {source.uri}", *problems[:3]] if problems else []), again if problems else "")
        except MynahError as error:
            yield BaseState(about, error.problem, error.fix)


def changed_files(source: ArtifactStore, of: Sequence[set[str]] = VERSIONS) -> list[str]:
    """Return the files whose digest differs from the registered one; with BASES of a base model."""
    changed = []
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "file"
        for name, entry in read_manifest(source, of).items():
            source.get(name, path)
            if digest(path) != entry.sha256:
                changed.append(f"{name} is not what was registered: its digest differs")
    return changed


def unused_bases(registry: Registry, endpoints: "Sequence[Endpoint]") -> list[str]:
    """Return the digests of stored base models, whole or not, that neither an adapter nor an endpoint refers to."""
    where, used = bases_uri(registry.store), used_bases(registry.store)
    return [
        base_digest
        for base_digest in sorted(stored_bases(registry.store))
        if base_digest not in used and not any(endpoint.refers_to(direct_uri(f"{where}/{base_digest}")) for endpoint in endpoints)
    ]
