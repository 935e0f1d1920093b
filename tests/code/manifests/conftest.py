"""The overlays of k8s/, rendered once."""

import shutil

import pytest

from scripts.manifests.render import render
from tests.code.manifests.overlays import EVERYTHING
from tests.conftest import needs


@pytest.fixture(scope="module", autouse=True)
def _kubectl():
    needs(shutil.which("kubectl") is not None, "kubectl is not installed: k8s/README.md names its version")


@pytest.fixture(scope="session")
def rendered():
    """Both overlays, with every component and a bot of its own."""
    return {overlay: render(overlay, EVERYTHING, bot=True) for overlay in ("laptop", "gpu")}


@pytest.fixture(scope="session")
def plain():
    """Both overlays as they are."""
    return {overlay: render(overlay) for overlay in ("laptop", "gpu")}
