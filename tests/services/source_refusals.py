"""How sources are refused."""

import pytest


def refused(kind, call):
    with pytest.raises(kind) as caught:
        call()
    assert caught.value.fix
    assert "\n" not in caught.value.problem
    assert caught.value.problem.isprintable()
    return caught.value.problem
