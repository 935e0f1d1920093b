"""The suite's own order: the long files that are begun first are files."""

from pathlib import Path

import pytest

from tests.conftest import LONGEST

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", LONGEST)
def test_a_file_that_is_run_first_is_there(name):
    assert (ROOT / name).is_file()
