"""From an empty installation to a bot that was trained, promoted, served, rolled back and forgotten; each step needs the one before."""

import time

import pytest

from components.fetch.sources import SAMPLE
from pipelines.kubeflow.pods import Pod
from tests.cluster.commands import Answer
from tests.cluster.runs import LONG, RUN
from tests.cluster.story import POST, QUESTION
from tests.cluster.ways import BOTS, KUBEFLOW, SOURCES, TARGETS
from tests.services.fake_prometheus import fake_prometheus

pytestmark = pytest.mark.timeout(3 * 3600)

MOST_PODS, MOST_SECONDS = 14, 120  # of the first run
NEEDED = ("your rights", "KServe", "Kubeflow Pipelines", "Argo Workflows")  # of preflight; all else comes with the overlay
S3 = "http://s3.mynah.svc.cluster.local:8333"  # the laptop's


def test_the_cluster_has_what_is_needed(story):
    example = [{"about": about, "problem": "", "fix": "", "is_well": True} for about in NEEDED]
    findings = story.mynah("preflight", "--context", story.asked.context, example=example, codes=(0, 3))
    missing = [each for each in findings if each["about"].startswith(NEEDED) and not each["is_well"]]
    assert not missing, "\n".join(f"{each['about']}: {each['problem']}. {each['fix']}" for each in missing)
    story.kubectl("rollout", "status", "deployment/ml-pipeline", "--namespace", KUBEFLOW, "--timeout", "10m", seconds=660)


def test_no_other_installation_is_overwritten(story):
    installed = story.installed_settings()
    other = f"namespace {BOTS} holds an installation that is not the laptop's ({installed}). Name another cluster."
    assert not installed or installed.get("AWS_ENDPOINT_URL_S3") == S3, other


def test_the_laptop_overlay_is_installed(story):
    if story.asked.kind:
        images = sorted(story.asked.references.values())
        story.commands.run("kind", "load", "docker-image", "--name", story.asked.kind, *images, seconds=1800)
    story.kubectl("apply", "-k", story.asked.overlay(story.commands.folder))
    for workload in ("statefulset/postgres", "statefulset/s3", "deployment/mlflow"):
        story.kubectl("rollout", "status", workload, "--namespace", BOTS, "--timeout", "10m", seconds=660)
    ready = ("--for", "condition=Ready", "inferenceservice/aviary", "--namespace", BOTS, "--timeout", "10m")
    story.kubectl("wait", *ready, seconds=660)


def test_the_servers_are_within_reach(story):
    story.use_the_servers()
    paths = {"ml-pipeline": "/apis/v2beta1/healthz", "mlflow": "/health", "aviary-predictor": "/v2/health/ready"}
    for service, path in paths.items():
        answer = story.commands.ask(f"http://{story.ways[service]}{path}")
        assert answer.status == 200, f"{service} answers {answer}"
    if not story.bots:  # and of a session that goes on it may be there
        assert story.bot not in [bot["name"] for bot in story.mynah("bots", example=[])]


def test_a_tiny_run_succeeds(story):
    run = story.submit(seed=1)
    assert story.state_at_the_end(run) == "SUCCEEDED"
    assert story.commands.run("mynah", "logs", run, "finetune", example="…").strip()
    pods = story.pods(run)
    print(f"{len(pods)} pods; the bar is {MOST_PODS}")
    assert len(pods) <= MOST_PODS


def test_mlflow_and_the_registry_have_it(story):
    [version] = story.record(1, champion=1)["versions"]
    assert (version["version"], version["verdict"]) == (1, "passed")
    kubeflow_run = {"key": "mynah.kfp_run_id", "value": story.runs[0]}
    address = f"http://{story.ways['mlflow']}/api/2.0/mlflow/model-versions/get?name={story.bot}&version=1"
    answer = story.commands.ask(address, example=Answer(200, {"model_version": {"tags": [kubeflow_run]}}))
    assert answer.status == 200, answer
    assert kubeflow_run in answer.body["model_version"]["tags"]


def test_it_is_promoted(story):
    """The pipeline promoted it already; once more changes nothing."""
    assert story.mynah("promote", story.bot, "--version", "1", example={"promoted": True})["promoted"]
    assert story.record(1, champion=1)["aliases"]["champion"] == 1


def test_the_aviary_answers_for_it(story):
    answer = story.until_served(1)
    print(
        f"{time.monotonic() - story.submitted:.0f} s from `mynah submit` to the aviary's answer; the bar is {MOST_SECONDS} on an idle node"
    )
    assert answer.body["outputs"][0]["data"][0].strip()


def test_it_gets_a_service_of_its_own(story):
    words = ("deploy", story.bot, "--namespace", BOTS, "--context", story.asked.context)
    example = {"action": "deployed", "version": 1, "answer": "My dream is to sing."}
    done = story.mynah(*words, example=example, seconds=1200)
    assert (done["action"], done["version"]) == ("deployed", 1)
    assert done["answer"].strip()
    service = f"{story.bot}-predictor"
    story.reach(BOTS, service, 80)
    answer = story.ask(service, 1)
    assert answer.status == 200, answer
    assert answer.body["model_version"] == "1"


def test_a_killed_training_pod_goes_on_where_it_was(story):
    """The next attempt takes up the training state that the first one kept, and makes the second version."""
    run = story.submit(seed=2, **LONG)
    first = Pod("e2e-1", "finetune", "Running", "", False, "")

    def killed() -> int:
        """The step of a state that was kept before the kill; 0 before that."""
        for pod in story.attempts(run, first):
            assert pod.phase != "Succeeded", f"{pod.name} was over before it had kept a training state"
            if step := story.kept_at(run, pod):
                story.kill(pod)
                return step
        return 0

    kept = story.commands.until("a pod that fine-tunes keeps a training state", killed, seconds=1800)
    state = story.state_at_the_end(run)
    assert state == "SUCCEEDED", f"{state}: does Argo try killed pods again? k8s/README.md, Retries"
    gone, again = (Pod(name, "finetune", phase, "", False, "") for name, phase in (("e2e-1", "Failed"), ("e2e-2", "Succeeded")))
    attempts = story.attempts(run, gone, again)
    assert attempts[0].has_failed, f"nothing was killed: {attempts}"
    assert attempts[-1].phase == "Succeeded", attempts
    resumed = story.resumed_at(run)
    assert resumed >= kept, f"{attempts[-1].name} went on at step {resumed}, and the state of step {kept} had been kept"
    assert {each["version"] for each in story.record(2, 1, champion=2)["versions"]} == {1, 2}


def test_a_promotion_under_load_fails_no_request(story):
    if story.record(2, 1, champion=2)["aliases"]["champion"] == 2:  # the pipeline found it better
        story.mynah("rollback", story.bot, example={"version": 1, "previous": 2})
    story.until_served(1)
    with story.load(1) as load:
        load.sees(f"{story.bot}:1")
        words = ("promote", story.bot, "--version", "2", "--force", "the end-to-end suite")
        assert story.mynah(*words, example={"promoted": True})["promoted"]
        load.sees(f"{story.bot}:2")
    assert not load.failures, f"{len(load.failures)} of {load.versions.total()} failed, the first by {load.failures[0]}"
    assert set(load.versions) <= {f"{story.bot}:1", f"{story.bot}:2"}


def test_it_is_rolled_back(story):
    done = story.mynah("rollback", story.bot, example={"version": 1, "previous": 2})
    assert (done["version"], done["previous"]) == (1, 2)
    story.until_served(1)


def test_a_run_is_canceled(story):
    run = story.submit(seed=3, **LONG)
    running = Pod("e2e-3", "finetune", "Running", "", False, "")
    story.commands.until("it fine-tunes", lambda: [pod for pod in story.attempts(run, running) if pod.phase == "Running"], 1800)
    story.cancel(run)
    assert {each["version"] for each in story.record(2, 1, champion=1)["versions"]} == {1, 2}


def test_a_step_that_waits_for_a_gpu_says_so(story):
    """`mynah submit` says it before it begins where it knows the cluster; else `mynah runs` says what the step waits for."""
    nodes = story.commands.json(
        *story.commands.kubectl_words("get", "nodes", "--selector", "mynah.dev/pool=gpu", "--output", "json"),
        example={"items": []},
    )
    if nodes["items"]:
        print("# there are nodes with GPUs: nothing waits")
        return
    words = ("submit", "--name", story.bot, "--from", "sample", "--base-model", "fledgling", "--gpus", "1", "--no-wait")
    story.commands.run("mynah", *words, "--context", story.asked.context, codes=(2, 3))
    assert story.asked.dry_run or "GPU" in story.commands.said, story.commands.said
    context = story.commands.environment.pop("MYNAH_KUBE_CONTEXT")  # and now without looking
    try:
        run = story.submit("--gpus", "1", seed=4)
    finally:
        story.commands.environment["MYNAH_KUBE_CONTEXT"] = context
    example = "Unschedulable: 0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector."
    reason = story.commands.until("it says what it waits for", lambda: story.waits_for(run, "finetune", example), 600)
    assert "nodes are available" in reason
    story.cancel(run)


def test_a_fleet_of_two_succeeds(story):
    bots = [f"{story.bot}-{which}" for which in "ab"]
    assert story.state_at_the_end(story.submit_fleet(*bots)) == "SUCCEEDED"
    for bot in bots:
        assert story.record(1, champion=1, bot=bot)["aliases"]["champion"] == 1
        story.until_served(1, bot)


def test_a_schedule_trains_once_and_then_waits_for_news(story):
    bot = f"{story.bot}-s"
    source = story.put_in_bucket(SAMPLE, f"{story.bot}/{SAMPLE.name}")
    schedule = story.schedule(bot, "--from", source, "--basis", "permission")
    first = story.next_run(schedule)
    assert {each["version"] for each in story.record(1, champion=1, bot=bot)["versions"]} == {1}
    story.mynah("schedules", "resume", schedule, example={"schedule": schedule, "state": "resumed"})
    story.next_run(schedule, first, RUN.replace("4000", "4001"))
    assert {each["version"] for each in story.record(1, champion=1, bot=bot)["versions"]} == {1}  # nothing was new
    story.mynah("schedules", "remove", schedule, example={"schedule": schedule, "state": "removed"})
    assert story.scheduled(schedule, "") == {}


def test_a_bad_canary_is_taken_back(story):
    """With a Gateway API it gets 10 percent, and its errors end it. Without one it is refused, and nothing changes."""

    def bad(query):
        return 0.5 if "histogram_quantile" in query else 50 if "5.." in query else 100

    with fake_prometheus(bad) as prometheus:
        which = (
            "--version",
            "2",
            "--force",
            "the end-to-end suite",
            "--canary",
            "10",
            "--step",
            "60",
            "--prometheus",
            prometheus,
        )
        words = ("deploy", story.bot, "--namespace", BOTS, "--context", story.asked.context, *which)
        story.commands.run("mynah", *words, codes=(2, 4), seconds=1200)
    said = story.commands.said
    assert story.asked.dry_run or "the canary was not promoted" in said or "needs the Gateway API" in said, said
    live = story.found("inferenceservice", story.bot, BOTS, {"spec": {"predictor": {}}})
    assert live["spec"].get("canary") is None
    answer = story.ask(f"{story.bot}-predictor", 1)
    assert (answer.status, answer.body["model_version"]) == (200, "1")


def test_everybody_reaches_whom_they_should_and_nobody_else(story):
    story.start_probers()
    addresses = {target: story.address_of(target) for target in TARGETS}
    wrong = [each for source in SOURCES for each in story.wrong_ways_at_last(source, addresses)]
    assert not wrong, f"{'; '.join(wrong)}. Does the cluster's network plugin enforce NetworkPolicies?"


def test_it_is_forgotten_and_nothing_answers(story):
    receipt = story.commands.folder / "receipt.json"
    assert story.forget(story.bot, receipt)["items"]
    gone = Answer(404)

    def silent() -> bool:
        address = f"http://{story.ways['aviary-predictor']}/v2/models/{story.bot}"
        asked = [
            story.commands.ask(address + path, body, key=True, example=gone) for path, body in (("", None), ("/infer", QUESTION))
        ]
        return {answer.status for answer in asked} == {404}

    story.commands.until(f"the aviary knows no {story.bot}", silent)
    assert story.found("inferenceservice", story.bot, BOTS, {}) == {}
    story.commands.until("its Service is gone", lambda: story.found("service", f"{story.bot}-predictor", BOTS, {}) == {})
    assert story.bot not in [bot["name"] for bot in story.mynah("bots", example=[])]
    words = ("receipt", str(receipt), "--context", story.asked.context)
    assert story.mynah(*words, example={"back": []})["back"] == []


def test_kubeflow_keeps_nothing_that_names_it(story):
    """Not even what it never forgets: names and posts do not go through it."""
    assert [place for place, text in story.kept_by_kubeflow().items() if story.bot in text or POST in text] == []
