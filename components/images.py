"""The container images that the steps run in."""

import importlib.metadata

from mynah.core.settings import MYNAH_DATA_IMAGE, MYNAH_TRAIN_IMAGE

OVERRIDES = {"data": MYNAH_DATA_IMAGE, "train": MYNAH_TRAIN_IMAGE}


def image(target: str) -> str:
    """The image of a target of images/Containerfile (data or train): MYNAH_DATA_IMAGE, MYNAH_TRAIN_IMAGE, or this version's tag.

    Read when a component is imported. It holds mynah and kfp (`pip install --no-deps kfp`), so that no step installs anything when
    it starts; on a laptop the steps run in this Python instead.
    """
    return OVERRIDES[target].get() or f"mynah-{target}:{importlib.metadata.version('mynah')}"


DATA_IMAGE = image("data")  # without torch

TRAIN_IMAGE = image("train")
