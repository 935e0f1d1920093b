"""The end-to-end suite runs only when it is asked for: `make e2e CONTEXT=NAME`. Never as a part of `make test`."""

import os
import time
from pathlib import Path

import pytest

from tests.cluster.asked import ROOT, Asked, RefusedError
from tests.cluster.story import Story, told_how_to_remove


def pytest_ignore_collect(config):
    """Leave the steps out unless this folder was named: `make test` names none, whatever the environment holds."""
    return None if any("cluster" in Path(each.partition("::")[0]).parts for each in config.args) else True


@pytest.fixture(scope="session")
def _session():
    """The story that all steps tell, after the safety catch."""
    try:
        asked = Asked.of(os.environ)
        folder = Path(os.environ.get("E2E_FOLDER") or ROOT / "build/e2e")
        told = Story(asked, folder / time.strftime("%Y%m%d-%H%M%S"))
        asked.require_named(told.current_context())
    except (RefusedError, FileNotFoundError, AssertionError) as refused:
        pytest.exit(f"refused: {refused}", returncode=2)
    yield told
    if asked.dry_run:
        print("\n# When a step fails:")
        told.dump()
        print("# At the end, whatever happened:")
    told.close()
    print(told_how_to_remove(asked.context))


@pytest.fixture
def story(request, _session):
    if request.session.testsfailed:
        pytest.skip("an earlier step failed")
    return _session


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Keep what tells why, while it is there."""
    report = yield
    told = item.funcargs.get("story")
    if report.failed and report.when == "call" and told:
        told.dump()
        report.sections.append(("the cluster", f"objects, events, descriptions and logs: {told.commands.folder}"))
    return report
