"""The end-to-end suite runs only when it is asked for: `make e2e CONTEXT=NAME`. Never as a part of `make test`."""

import os
import time
from pathlib import Path

import pytest

from tests.cluster.asked import ROOT, Asked, RefusedError
from tests.cluster.story import Story, told_how_to_remove

TAKEN = pytest.StashKey[list[tuple[str, str, float]]]()  # step, outcome, seconds


def pytest_configure(config):
    config.stash[TAKEN] = []


def pytest_ignore_collect(config):
    """Leave the steps out unless this folder was named: `make test` names none, whatever the environment holds."""
    return None if any("cluster" in Path(each.partition("::")[0]).parts for each in config.args) else True


@pytest.fixture(scope="session")
def _session(request):
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
    told.close(is_over=all(step.name in told.kept.passed for step in request.session.items))
    print(told_how_to_remove(asked.context))


@pytest.fixture
def story(request, _session):
    if request.session.testsfailed:
        pytest.skip("an earlier step failed")
    if _session.kept.has_passed(request.node.name):
        pytest.skip(f"passed in an earlier session, in {_session.kept.passed[request.node.name]:.0f} s")
    return _session


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Keep what tells why a step failed, while it is there; and how long each took."""
    report = yield
    told = item.funcargs.get("story")
    if report.when == "call" and told:
        item.config.stash[TAKEN].append((item.name, report.outcome, report.duration))
        if report.passed:
            told.passed(item.name, report.duration)
        if report.failed:
            told.dump()
            report.sections.append(("the cluster", f"objects, events, descriptions and logs: {told.commands.folder}"))
    return report


def pytest_terminal_summary(terminalreporter, config):
    """A table of the seconds that each step took."""
    taken = config.stash[TAKEN]
    if not taken:
        return
    terminalreporter.section("seconds per step")
    for step, outcome, seconds in taken:
        terminalreporter.write_line(
            f"{seconds:8.1f}  {step.removeprefix('test_').replace('_', ' ')}{'' if outcome == 'passed' else f': {outcome}'}"
        )
    terminalreporter.write_line(f"{sum(seconds for _, _, seconds in taken):8.1f}  all of them")
