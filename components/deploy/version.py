"""Which version of a bot is deployed, and whether it may be: from the registry to what KServe needs to know of it."""

from components.artifacts import direct_uri
from components.deploy.manifest import Serving
from components.errors import GateRefused, InputError
from components.manifest import faults, read_manifest
from components.registry import CHAMPION, BotVersion, Registry, no_such_version
from components.store import Store

MODEL = "model/"  # the Hugging Face folder within a version's files


def serving_of(name: str, store: Store, version: int = 0, force: str = "") -> Serving:
    """What there is to serve of version `version` of a bot; 0: its champion.

    Raises InputError for an unknown bot or version, one whose files are gone or lie where a cluster cannot read them; GateRefused
    for one that the gate did not pass, unless `force` says why it is served all the same.
    """
    registry = Registry(store)
    bot = registry.head(name, version or CHAMPION)
    if not bot.versions and not version:
        raise InputError(f"{name} has no champion", f"Promote one with `mynah promote {name}`, or name a --version.")
    if not bot.versions:
        raise no_such_version(registry.bot(name), f"version {version}")
    found = bot.versions[0]
    if not found.passed and not force:
        verdict = found.tags.get("mynah.verdict", "no verdict")
        raise GateRefused(
            f"{name} version {found.version} is not deployed: the gate did not pass it ({verdict})",
            'Deploy another version; --force "why" overrules this and is recorded.',
        )
    source = registry.files(found)
    problems = faults(source)
    if problems:
        raise InputError(
            f"{name} version {found.version} is not whole: {'; '.join(problems[:3])}",
            f"Make it again with `mynah run --name {name} …`; `mynah doctor` shows all.",
        )
    size = sum(entry.size for path, entry in read_manifest(source).items() if path.startswith(MODEL))
    return Serving(name, found.version, _uri(registry, found), size, found.model_id, "" if found.passed else force)


def _uri(registry: Registry, version: BotVersion) -> str:
    """The immutable folder of a version's checkpoint in S3."""
    uri = direct_uri(registry.uri(version))
    if not uri.startswith("s3://"):
        raise InputError(
            f"the files of {version.name} version {version.version} lie in {uri[:200]}, where no cluster can read them",
            "Register it with an MLflow server that keeps artifacts in S3 (README, With servers).",
        )
    return f"{uri.rstrip('/')}/{MODEL}"
