"""Render overlays with `kubectl kustomize`: alone, and with every choice of components and a bot."""

import itertools
import os
import re
import shutil
import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml

from mynah.core.errors import InputError
from scripts.manifests.objects import Manifests

ROOT = Path(__file__).parents[2]
SECONDS = 60
CREATES = re.compile(r"kubectl create secret (?:generic|tls) .+")
TLS = frozenset({"tls.crt", "tls.key"})
OF_KUBEFLOW = {"argo", "kubeflow-laptop"}  # components that change Kubeflow's objects, which no overlay has
OF_RUNS = ("kueue", "trainer")  # change only what runs find: rendered alone, and with all other components
NEEDS = {"keda": {"gateway", "monitoring"}}  # components that need others: k8s/README.md


def choices(root: Path = ROOT) -> dict[str, tuple[str, tuple[str, ...], bool]]:
    """Return everything to render by its name, such as "laptop+keda+bot": overlay, components, and whether with k8s/bot."""
    overlays = sorted(path.name for path in (root / "k8s/overlays").iterdir())
    others = {*OF_KUBEFLOW, *OF_RUNS}
    components = sorted(path.name for path in (root / "k8s/components").iterdir() if path.name not in others)
    subsets = [
        chosen
        for count in range(len(components) + 1)
        for chosen in itertools.combinations(components, count)
        if all(NEEDS.get(component, set()) <= {*chosen} for component in chosen)
    ]
    subsets += [(*rest, *chosen) for rest in ((), tuple(components)) for chosen in (OF_RUNS, OF_RUNS[:1], OF_RUNS[1:])]
    alone: dict[str, tuple[str, tuple[str, ...], bool]] = {overlay: (overlay, (), False) for overlay in overlays}
    return alone | {"+".join([overlay, *chosen, "bot"]): (overlay, chosen, True) for overlay in overlays for chosen in subsets}


def render_all(root: Path = ROOT) -> list[Manifests]:
    """Render all `choices`, in their order. Raises InputError as `render` does."""
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        return list(threads.map(lambda choice: render(choice[0], choice[1], choice[2], root), choices(root).values()))


def render(overlay: str, components: tuple[str, ...] = (), bot: bool = False, root: Path = ROOT) -> Manifests:
    """Render one overlay.

    Args:
        overlay: The name of the overlay.
        components: The names of its components.
        bot: Whether to add k8s/bot.
        root: The repository.

    Returns:
        The rendering.

    Raises:
        InputError: kubectl is not installed, or fails; the message has its output.
    """
    name = "+".join([overlay, *components, *["bot"] * bot])
    folder = root / "k8s/overlays" / overlay
    if not components and not bot:
        return _manifests(name, build(folder), root)
    with tempfile.TemporaryDirectory(prefix="mynah-manifests-") as made:
        resources = [folder, *[root / "k8s/bot"] * bot]
        chosen = [root / "k8s/components" / component for component in components]
        wrapper = {
            "resources": [_relative(path, made) for path in resources],
            "components": [_relative(path, made) for path in chosen],
        }
        (Path(made) / "kustomization.yaml").write_text(yaml.safe_dump(wrapper))
        return _manifests(name, build(Path(made)), root)


def build(folder: Path) -> str:
    """Return the output of `kubectl kustomize`. Raises InputError when kubectl is not installed or fails."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        raise InputError("kubectl is not installed", "k8s/README.md names its version and where it comes from.")
    done = subprocess.run([kubectl, "kustomize", folder], capture_output=True, text=True, timeout=SECONDS)
    if done.returncode:
        raise InputError(
            f"kubectl refuses {folder.name}: {done.stderr.strip()[-600:]}", "Correct the kustomization that it names."
        )
    return done.stdout


def documented_secrets(text: str) -> Mapping[tuple[str, str], frozenset[str]]:
    """Return the Secrets that the commands `kubectl create secret` of a text create: (namespace, name) to keys."""
    secrets: dict[tuple[str, str], frozenset[str]] = defaultdict(frozenset)
    for command in CREATES.findall(text.replace("\\\n", " ")):
        words = command.split()
        namespace = words[words.index("--namespace") + 1]
        keys = {word.split("=")[1] for word in words if word.startswith(("--from-literal=", "--from-file="))}
        secrets[namespace, words[4]] |= TLS if words[3] == "tls" else keys
    return dict(secrets)


def _manifests(name: str, text: str, root: Path) -> Manifests:
    readme = (root / "k8s/README.md").read_text("utf-8")
    objects = tuple(document for document in yaml.load_all(text, yaml.CSafeLoader) if document)
    return Manifests(name, objects, documented_secrets(readme), readme, (root / "docs/runbook.md").read_text("utf-8"))


def _relative(path: Path, start: str) -> str:
    return os.path.relpath(path, Path(start).resolve())  # kustomize takes no absolute one
