"""What the person who started the suite asked for, and its safety catch: a cluster is touched only when its context was named."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
LAPTOP = "k8s/overlays/laptop"
PREFIX = "e2e-"  # of every bot that the suite makes; it deletes no object with another name
IMAGES = {target: f"mynah-{target}:0.1.0" for target in ("data", "train", "serve")}  # as `make images` and the overlay call them
HOW = "make e2e CONTEXT=NAME, where NAME is what `kubectl config current-context` says"


class RefusedError(Exception):
    """The suite does not start; the message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The choices, from variables E2E_…; refuses nonsense when it is built."""

    context: str  # of the kubeconfig, named by the person and by nobody else
    dry_run: bool = False  # print every command, run none
    images: str = ""  # build/images.json, for a cluster that pulls them; "": IMAGES, which lie on the nodes
    kind: str = ""  # name of the kind cluster into which the images are loaded; "": they are there
    kill: str = "process"  # how the training pod dies: its process, the whole pod, or its node, which is drained
    keep: bool = False  # leave bots and runs where they are, and go on with the step that failed

    def __post_init__(self) -> None:
        if not self.context:
            raise RefusedError(f"no cluster was named. Write {HOW}.")
        if self.kill not in ("process", "pod", "node"):
            raise RefusedError(f"E2E_KILL is {self.kill!r}. Use process, pod or node.")

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "Asked":
        """The choices in an environment."""
        given = {name: environment.get(f"E2E_{name.upper()}", "") for name in ("context", "images", "kind")}
        flags = {name: environment.get(f"E2E_{name.upper()}", "") in ("1", "true", "yes") for name in ("dry_run", "keep")}
        return cls(**given, **flags, kill=environment.get("E2E_KILL") or "process")

    def require_named(self, current: str) -> None:
        """Raise RefusedError unless `current`, the kubeconfig's context, is the one that was named: exactly, not nearly."""
        if current != self.context:
            raise RefusedError(
                f"the kubeconfig's current context is {current!r}, and {self.context!r} was named; nothing was touched. "
                f"Write {HOW}, or change it: kubectl config use-context {self.context}"
            )

    @property
    def references(self) -> dict[str, str]:
        """Each target's image as the cluster calls it."""
        return json.loads((ROOT / self.images).read_text("utf-8")) if self.images else IMAGES

    def overlay(self, folder: Path) -> str:
        """The folder to apply, from the root: the laptop's, or one made in `folder` that only renames its image."""
        if not self.images:
            return LAPTOP
        made = folder / "overlay"
        made.mkdir(parents=True, exist_ok=True)
        name, _, digest = self.references["serve"].partition("@")
        repository, colon, tag = name.rpartition(":")
        if not colon or "/" in tag:  # no tag, or the colon of a port
            repository, tag = name, ""
        image = {"name": "mynah-serve", "newName": repository} | ({"digest": digest} if digest else {"newTag": tag})
        content = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization",
            "resources": [os.path.relpath(ROOT / LAPTOP, made.resolve())], "images": [image],
        }  # fmt: skip
        (made / "kustomization.yaml").write_text(yaml.safe_dump(content), "utf-8")
        return os.path.relpath(made.resolve(), ROOT)
