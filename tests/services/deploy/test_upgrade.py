"""`mynah deploy --all`: the servers of all bots are upgraded one after the other, and each keeps its version."""

import json

import pytest
from fake_kubernetes import SERVICES

from components.deploy.serving_runtime import RUNTIME, runtime_of_version
from components.deploy.settings import DeploySettings
from components.deploy.step import deploy
from components.deploy.upgrade import deployed_bots, to_upgrade, upgrade
from mynah.core.errors import InputError, PlatformError
from tests.services.deploy.deployments import QUICK, refused, serving

BEFORE = runtime_of_version("0.0.9")
SETTINGS = DeploySettings(wait_limits=QUICK)
VERSIONS = {"ant": 1, "bee": 2, "cat": 3}


@pytest.fixture
def bots(kubernetes, kserve, cluster, monkeypatch):
    """Three bots that the version before deployed."""
    kubernetes.put("servingruntimes.serving.kserve.io", "mynah", BEFORE)
    with monkeypatch.context() as patch:
        patch.setattr("components.deploy.manifest.RUNTIME", BEFORE)
        patch.setattr("components.deploy.serving_runtime.RUNTIME", BEFORE)
        for name, version in VERSIONS.items():
            deploy(serving(version, name=name), cluster, SETTINGS)
    return kserve


def runtimes(kserve):
    return [kserve.predictor(name)["model"]["runtime"] for name in VERSIONS]


def found(cluster):
    return to_upgrade(deployed_bots(cluster, "mynah"), lambda bot: serving(bot.version, name=bot.name))


def test_the_name_of_a_runtime_is_one_that_kubernetes_takes():
    assert runtime_of_version("0.2.0") == "mynah-0-2-0"
    assert runtime_of_version("1.0.0.dev3+g1A2b") == "mynah-1-0-0-dev3-g1a2b"


def test_bots_are_upgraded_one_after_the_other(kubernetes, bots, cluster):
    assert runtimes(bots) == [BEFORE] * 3
    begun = []  # after each request: how many bots wait for pods of what was applied

    def look():
        waiting = [name for name in VERSIONS if not served(name)]
        begun.append(len(waiting))

    def served(name):
        digest = bots.predictor(name)["annotations"]["mynah.dev/applied"]
        return any(pod["mark"] == digest for pod in bots.ready_pods("mynah", f"{name}-predictor"))

    kubernetes.reactions.append(look)
    done = list(upgrade(found(cluster), cluster, SETTINGS))
    assert [(each.name, each.version, each.action) for each in done] == [
        (name, number, "deployed") for name, number in VERSIONS.items()
    ]
    assert runtimes(bots) == [RUNTIME] * 3
    assert max(begun) == 1
    assert {each.action for each in upgrade(found(cluster), cluster, SETTINGS)} == {"unchanged"}


def test_the_first_one_that_fails_ends_it_and_is_restored(bots, cluster):
    bots.fates["2"] = "mute"
    done = []
    with pytest.raises(PlatformError) as raised:
        done += upgrade(found(cluster), cluster, SETTINGS)
    for each in ("bee: version 2 of bee is ready, and does not answer", "1 of 3 bots are done, and the others are as they were"):
        assert each in str(raised.value)
    assert runtimes(bots) == [RUNTIME, BEFORE, BEFORE]
    bots.fates.clear()
    assert [each.action for each in upgrade(found(cluster), cluster, SETTINGS)] == ["unchanged", "deployed", "deployed"]


def test_a_bot_that_is_not_ready_comes_first(kubernetes, bots, cluster):
    for key in bots._pods("mynah", "cat"):
        kubernetes.objects[key]["age"] = -40  # its pod is new
        kubernetes.objects[key]["status"]["conditions"][0]["status"] = "False"
    bots.reconcile()
    assert [(bot.name, bot.is_ready) for bot in deployed_bots(cluster, "mynah")] == [("cat", False), ("ant", True), ("bee", True)]


def test_nothing_more_is_begun_when_one_that_is_done_gets_ill(kubernetes, bots, cluster):
    going = upgrade(found(cluster), cluster, SETTINGS)
    assert next(going).name == "ant"
    for key in bots._pods("mynah", "ant"):
        del kubernetes.objects[key]
    bots.fates["1"] = "crash"
    with pytest.raises(PlatformError, match=r"(?s)bee: not begun, because ant is not ready any more.*1 of 3 bots are done"):
        next(going)
    assert runtimes(bots) == [RUNTIME, BEFORE, BEFORE]


def test_canaries_and_what_others_apply_are_left(kubernetes, bots, cluster):
    deploy(serving(7, name="ant"), cluster, DeploySettings(wait_limits=QUICK, percent=10))
    kubernetes.owners[SERVICES, "mynah", "bee"] = {
        ("kustomize-controller", "Apply"): kubernetes.owners[SERVICES, "mynah", "bee"]["mynah", "Apply"]
    }
    kubernetes.edit(
        SERVICES, "mynah", "bee", "kustomize-controller", lambda each: each["spec"]["predictor"].update(minReplicas=2)
    )
    left = {bot.name: bot.left for bot in deployed_bots(cluster, "mynah")}
    assert (
        left["ant"].startswith("it has a canary")
        and left["bee"].startswith("applied by kustomize-controller")
        and left["cat"] == ""
    )
    assert [each.name for each in upgrade(found(cluster), cluster, SETTINGS)] == ["cat"]


def test_a_version_that_cannot_be_looked_up_stops_it_before_it_begins(bots, cluster):
    def look_up(bot):
        if bot.name == "cat":
            raise InputError("it is forgotten", "Delete it.")
        return serving(bot.version, name=bot.name)

    with pytest.raises(InputError, match="cat serves version 3: it is forgotten"):
        to_upgrade(deployed_bots(cluster, "mynah"), look_up)


def test_a_dry_run_shows_each_change_and_makes_none(bots, cluster):
    from components.deploy.diff_text import describe_upgrade

    told = [describe_upgrade(each) for each in upgrade(found(cluster), cluster, SETTINGS, dry_run=True)]
    assert all(f"-      runtime: {BEFORE}" in each and f"+      runtime: {RUNTIME}" in each for each in told)
    assert runtimes(bots) == [BEFORE] * 3


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "one bot's name, or --all"),
        (("wren", "--all"), "one bot's name, or --all"),
        (("--all", "--version", "2"), "--all keeps the version"),
    ],
)
def test_all_takes_no_choice_of_one_bot(mynah, tmp_path, words, said):
    refused(mynah("deploy", *words, "--workdir", tmp_path), 2, said)


def test_all_by_the_command(kubernetes, kserve, wren, mynah, monkeypatch):
    name, workdir = wren
    quick = ("--poll", "0.01", "--trouble", "0.05", "--timeout", "5", "--context", "fake", "--workdir", workdir)
    refused(mynah("deploy", "--all", *quick), 2, "no bot is deployed in the namespace 'mynah'")
    assert mynah("deploy", name, *quick).returncode == 0
    kubernetes.edit(SERVICES, "mynah", name, "mynah", lambda each: each["spec"]["predictor"]["model"].update(runtime=BEFORE))
    done = mynah("deploy", "--all", *quick, "--force-conflicts", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"bots": [{"name": name, "version": 1, "action": "deployed"}], "left": []}
    assert kserve.predictor(name)["model"]["runtime"] == RUNTIME
    assert mynah("deploy", "--all", *quick).stdout == f"mynah/{name} version 1 needs no upgrade\n"
