"""A file of posts, and a cluster with nodes."""

import pytest

from tests.services.fake_kserve import FakeKServe
from tests.services.kubeflow_commands import POSTS


@pytest.fixture
def csv(tmp_path):
    (tmp_path / "few.csv").write_text("text\n" + POSTS)
    return tmp_path / "few.csv"


@pytest.fixture
def kubernetes(kubernetes):
    FakeKServe(kubernetes)  # which adds nodes to what there is
    return kubernetes
