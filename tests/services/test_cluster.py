"""What in a cluster refers to bots, asked over real HTTP of a fake API server, and of servers that fail in every way."""

import datetime
import ipaddress
import ssl
import subprocess
import sys
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from fake_kubernetes import SERVICES, TOKEN, FakeKubernetes, silent_server, write_kubeconfig

from components import cluster as cluster_module
from components.cluster import Cluster, Endpoint
from components.errors import InputError, PlatformError

WREN = Endpoint("bots", "wren", "wren", ())


@pytest.fixture
def kubernetes():
    fake = FakeKubernetes()
    yield fake
    fake.stop()


@pytest.fixture
def reach(tmp_path, monkeypatch):
    """Connect to the server at an address, as its kubeconfig says."""

    def connect(url, **settings):
        monkeypatch.setenv("KUBECONFIG", str(write_kubeconfig(tmp_path / "kubeconfig", url, **settings)))
        return Cluster.connect("fake")

    return connect


@pytest.fixture
def cluster(kubernetes, reach):
    return reach(kubernetes.url)


def put_service(kubernetes, name, uri="s3://b/x", namespace="bots", **metadata):
    kubernetes.put(SERVICES, namespace, name, metadata=metadata, spec={"predictor": {"model": {"storageUri": uri}}})


def endpoint(*uris):
    return Endpoint("bots", "wren", "", uris)


def fails_within(seconds, call):
    started = time.monotonic()
    with pytest.raises(PlatformError) as raised:
        call()
    assert time.monotonic() - started < seconds
    return str(raised.value)


def test_importing_it_does_not_import_kubernetes():
    code = "import components.cluster, components.lease, sys; sys.exit('kubernetes' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


# What an InferenceService refers to


def test_uris_are_found_in_every_place(kubernetes, cluster):
    container = {
        "name": "kserve-container",
        "env": [{"name": "STORAGE_URI", "value": "s3://b/env/"}, {"name": "A", "value": "s3://b/not"}],
    }
    spec = {
        "predictor": {
            "model": {"modelFormat": {"name": "huggingface"}, "storageUri": "s3://b/model/"},
            "huggingface": {"storageUri": "s3://b/legacy/"},
            "storageUris": [{"uri": "s3://b/many/1/", "mountPath": "/mnt/a"}, {"uri": "hf://me/many"}],
            "containers": [container],
            "volumes": [{"name": "STORAGE_URI", "value": "s3://b/not"}],
        },
        "transformer": {"containers": [{"env": [{"name": "STORAGE_URI", "value": "s3://b/transformer/"}]}]},
        "explainer": {"art": {"storageUri": "s3://b/explainer/"}},
        "canary": [
            {"predictor": {"model": {"storageUri": "s3://b/canary/"}}},
            {"predictor": {"model": {"storageUri": "s3://b/model/"}}},
        ],
    }
    kubernetes.put(SERVICES, "bots", "wren", metadata={"labels": {"mynah.dev/bot": "wren"}}, spec=spec)
    (found,) = cluster.endpoints()
    assert (found.namespace, found.name, found.bot) == ("bots", "wren", "wren")
    paths = ("model/", "legacy/", "many/1/", "env/", "transformer/", "explainer/", "canary/")
    assert sorted(found.storage_uris) == sorted([*(f"s3://b/{path}" for path in paths), "hf://me/many"])


@pytest.mark.parametrize(
    "spec",
    [
        None,
        {},
        {"predictor": {"model": {"storageUri": None}, "containers": [{"env": None}]}},
        {"predictor": {"model": {"storageUri": ""}, "containers": [{"env": [{"name": "STORAGE_URI"}]}]}},
        {
            "predictor": {
                "model": {"storageUri": {"uri": "s3://b/x"}},
                "containers": [{"env": [{"name": "STORAGE_URI", "valueFrom": {}}]}],
            }
        },
    ],
)
def test_a_service_without_uris_is_found_all_the_same(kubernetes, cluster, spec):
    kubernetes.put(SERVICES, "bots", "wren", spec=spec)
    assert cluster.endpoints() == [endpoint()]


@pytest.mark.parametrize(
    ("own", "asked", "refers"),
    [
        ("s3://b/bots/1", "s3://b/bots/1", True),
        ("s3://b/bots/1/", "s3://b/bots/1", True),
        ("s3://b/bots/1", "s3://b/bots/1/", True),
        ("s3://b/bots", "s3://b/bots/1", True),  # contains it
        ("s3://b/bots/1/model/", "s3://b/bots/1", True),  # lies below it
        ("s3://b", "s3://b/bots/1", True),
        ("s3://b/bots/10", "s3://b/bots/1", False),
        ("s3://b/bots/1", "s3://b/bots/10", False),
        ("s3://b/bots/2", "s3://b/bots/1", False),
        ("s3://bb/bots/1", "s3://b/bots/1", False),
        ("gs://b/bots/1", "s3://b/bots/1", False),
    ],
)
def test_uris_are_folders(own, asked, refers):
    assert endpoint("s3://other/x", own).refers_to(asked) is refers
    assert not endpoint().refers_to(asked)


# Listing


def test_all_namespaces_and_all_pages(kubernetes, cluster):
    for number in range(230):
        put_service(kubernetes, f"bot-{number:03}", f"s3://b/{number}/", namespace=("bots", "other")[number % 2])
    found = cluster.endpoints()
    assert sorted(each.name for each in found) == [f"bot-{number:03}" for number in range(230)]
    assert {each.namespace for each in found} == {"bots", "other"}
    assert [path.count("limit=100") for path in kubernetes.asked("list")] == [1, 1, 1]


def test_a_list_that_grows_too_old_is_taken_whole(kubernetes, cluster):
    for number in range(150):
        put_service(kubernetes, f"bot-{number:03}")
    kubernetes.tokens_too_old = True
    assert len({each.name for each in cluster.endpoints()}) == len(cluster.endpoints()) == 150


def test_without_kserve_there_is_none(kubernetes, cluster):
    kubernetes.kinds.discard(SERVICES)
    assert cluster.endpoints() == []


# Servers that fail


def test_credentials_that_are_not_valid(kubernetes, reach):
    assert "401" in fails_within(60, reach(kubernetes.url, token="wrong").endpoints)


def test_forbidden_names_the_rule_that_is_needed(kubernetes, cluster):
    kubernetes.forbidden.add(("list", SERVICES))
    said = fails_within(60, cluster.endpoints)
    assert 'cannot list resource "inferenceservices"' in said
    assert "{apiGroups: [serving.kserve.io], resources: [inferenceservices], verbs: [get, list, delete]}" in said


def test_connection_refused(reach):
    said = fails_within(60, reach("http://127.0.0.1:9").endpoints)
    assert "127.0.0.1:9" in said and "refused" in said


def test_a_server_that_never_answers(reach):
    with silent_server() as url:
        assert "timed out" in fails_within(60, reach(url).endpoints)


def test_a_name_that_no_server_has(reach):
    assert "cannot be reached" in fails_within(60, reach("http://api.invalid").endpoints)


@pytest.mark.parametrize(
    "answer",
    [
        (200, {}, "<html>Welcome</html>"),
        (200, {}, "[]"),
        (200, {}, '{"healthy": true}'),
        (200, {"Content-Type": "application/octet-stream"}, "\x00\udcff".encode("utf-8", "surrogatepass").decode("latin-1")),
        (404, {}, "<html>Not found</html>"),  # else a mistaken address would read as a cluster without inference services
        (302, {"Location": "http://127.0.0.1:9/"}, ""),
        (500, {}, '{"kind": "Status", "message": "etcdserver: leader changed"}'),
        (503, {}, "[]"),
    ],
)
def test_answers_that_kubernetes_does_not_give(kubernetes, cluster, answer):
    kubernetes.instead = answer
    said = fails_within(60, cluster.endpoints)
    assert kubernetes.url in said
    assert "leader changed" in said or answer[0] != 500


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((429, {"Retry-After": "1"}, '{"kind": "Status", "message": "too many requests"}'), "too many requests"),
        ((200, {}, "<html>Maintenance</html>"), "Maintenance"),
    ],
)
def test_an_answer_that_breaks_later(kubernetes, cluster, answer, said):
    put_service(kubernetes, "wren")
    assert cluster.endpoints()
    kubernetes.instead = answer
    assert said in fails_within(60, cluster.endpoints)


def test_a_password_in_the_address_is_not_shown(reach):
    assert "secret" not in fails_within(60, reach("http://me:secret@127.0.0.1:9").endpoints)


# Deleting


def test_delete_waits_for_all_that_belongs_to_it(kubernetes, cluster):
    put_service(kubernetes, "wren")
    put_service(kubernetes, "heron")
    kubernetes.seconds_to_collect = 0.7
    started = time.monotonic()
    cluster.delete(WREN)
    assert time.monotonic() - started > 0.7
    assert [each.name for each in cluster.endpoints()] == ["heron"]
    assert kubernetes.asked("delete") == [
        "/apis/serving.kserve.io/v1beta1/namespaces/bots/inferenceservices/wren?propagationPolicy=Foreground"
    ]


def test_delete_what_is_gone_already(kubernetes, cluster):
    cluster.delete(WREN)
    kubernetes.kinds.discard(SERVICES)
    cluster.delete(WREN)


def test_delete_names_the_finalizers_that_hold_it(kubernetes, cluster):
    put_service(kubernetes, "wren", finalizers=["inferenceservice.finalizers"])
    said = fails_within(60, lambda: cluster.delete(WREN, patience=0.3))
    assert "inferenceservice.finalizers" in said and "bots/wren" in said


def test_delete_of_what_is_made_again_at_once(kubernetes, cluster, monkeypatch):
    put_service(kubernetes, "wren")

    def make_again(_seconds):
        put_service(kubernetes, "wren")

    monkeypatch.setattr(cluster_module.time, "sleep", make_again)
    kubernetes.seconds_to_collect = 60
    assert "made it again" in fails_within(60, lambda: cluster.delete(WREN))


def test_delete_that_is_forbidden(kubernetes, cluster):
    put_service(kubernetes, "wren")
    kubernetes.forbidden.add(("delete", SERVICES))
    assert "cannot delete" in fails_within(60, lambda: cluster.delete(WREN))
    assert cluster.endpoints()


# Which cluster


@pytest.fixture
def no_pod(monkeypatch):
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)


def test_the_current_context_is_never_used(kubernetes, tmp_path, monkeypatch, no_pod):
    path = write_kubeconfig(tmp_path / "kubeconfig", kubernetes.url)
    path.write_text(path.read_text().replace("current-context: elsewhere", "current-context: fake"))
    monkeypatch.setenv("KUBECONFIG", str(path))
    assert Cluster.connect() is None
    assert kubernetes.requests == []


def test_a_service_host_without_a_token_is_no_pod(monkeypatch, tmp_path):
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setattr(cluster_module, "SERVICE_ACCOUNT", tmp_path)
    assert Cluster.connect() is None


def test_an_unknown_context_names_the_known_ones(kubernetes, reach):
    reach(kubernetes.url)
    with pytest.raises(InputError, match="no context 'prod'\nIt knows elsewhere, fake"):
        Cluster.connect("prod")


def test_contexts_of_several_files(kubernetes, tmp_path, monkeypatch):
    files = [write_kubeconfig(tmp_path / name, kubernetes.url, context=name) for name in ("one", "two")]
    monkeypatch.setenv("KUBECONFIG", ":".join(map(str, [*files, tmp_path / "none"])))
    assert Cluster.connect("two").endpoints() == []


def test_a_kubeconfig_without_current_context(kubernetes, tmp_path, monkeypatch):
    path = write_kubeconfig(tmp_path / "kubeconfig", kubernetes.url)
    path.write_text(path.read_text().replace("current-context: elsewhere\n", ""))
    monkeypatch.setenv("KUBECONFIG", str(path))
    assert Cluster.connect("fake").endpoints() == []


@pytest.mark.parametrize(
    "path", ["/dev/zero", "/proc/self/mem", "/", "x" * 5000, "~nobody-has-this-name/config", "/nowhere", ":::"]
)
def test_a_kubeconfig_path_that_is_none(monkeypatch, path):
    monkeypatch.setenv("KUBECONFIG", path)
    with pytest.raises(InputError):
        Cluster.connect("fake")


@pytest.mark.parametrize(
    "content",
    [
        b"", b"[]", b"7", b"contexts", b"contexts: 7", b"contexts: [{}]", b"contexts: [7]", b"a: [", b"\xff\xfe\x00", b"a: &a [*a]",
        b"contexts: [{name: fake}]",
        b"contexts: [{name: fake, context: {cluster: c}}]",
        b"contexts: [{name: fake, context: {cluster: c}}]\nclusters: [{name: c, cluster: {}}]",
        b"contexts: [{name: fake, context: {cluster: c}}]\nclusters: [{name: c, cluster: {server: 7}}]",
        b"contexts: [{name: fake, context: {cluster: c}}]\nclusters: [{name: c, cluster: {server: 'https://x', certificate-authority: /none}}]",
        b"[" * 5000,
    ],
)  # fmt: skip
def test_a_kubeconfig_that_is_none(tmp_path, monkeypatch, content):
    (tmp_path / "kubeconfig").write_bytes(content)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    with pytest.raises(InputError, match="kubeconfig"):
        Cluster.connect("fake")


@pytest.mark.parametrize("server", ["file:///etc/passwd", "gopher://127.0.0.1:9", "127.0.0.1:9", "http://", ""])
def test_a_kubeconfig_whose_server_has_no_web_address(reach, server):
    with pytest.raises(InputError, match="https://"):
        reach(server)


@pytest.mark.parametrize("server", ["http://[", "http://127.0.0.1:99999", "http://127.0.0.1:9/\x00"])
def test_a_kubeconfig_whose_server_cannot_be(reach, server):
    fails_within(60, reach(server).endpoints)


def self_signed(folder):
    """A certificate for 127.0.0.1 that signs itself, and a server's context with it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "kubernetes")])
    now = datetime.datetime.now(datetime.UTC)
    addresses = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=1))
    builder = builder.add_extension(addresses, critical=False).add_extension(x509.BasicConstraints(True, None), critical=True)
    (folder / "ca.crt").write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    private = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "key").write_bytes(key.private_bytes(*private))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "ca.crt", folder / "key")
    return context


@pytest.fixture
def pod(tmp_path, monkeypatch):
    """An API server over TLS, and a service account for it as Kubernetes mounts one in a pod."""
    fake = FakeKubernetes(self_signed(tmp_path))
    host, _, port = fake.url.removeprefix("https://").partition(":")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", port)
    monkeypatch.setenv("KUBECONFIG", str(write_kubeconfig(tmp_path / "kubeconfig", "http://127.0.0.1:9")))
    monkeypatch.setattr(cluster_module, "SERVICE_ACCOUNT", tmp_path)
    (tmp_path / "token").write_text(TOKEN)
    yield fake
    fake.stop()


def test_in_a_pod_by_its_service_account(pod):
    put_service(pod, "wren")
    assert [each.name for each in Cluster.connect().endpoints()] == ["wren"]


def test_a_named_context_goes_before_the_pod(pod):
    assert Cluster.connect("fake").host == "http://127.0.0.1:9"


def test_a_certificate_that_the_pod_does_not_trust(pod, tmp_path):
    (tmp_path / "other").mkdir()
    self_signed(tmp_path / "other")
    (tmp_path / "other" / "ca.crt").replace(tmp_path / "ca.crt")
    assert "CERTIFICATE_VERIFY_FAILED" in fails_within(60, Cluster.connect().endpoints)


@pytest.mark.parametrize(("name", "content"), [("token", ""), ("ca.crt", ""), ("ca.crt", None)])
def test_a_broken_service_account(pod, tmp_path, name, content):
    (tmp_path / name).unlink()
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(PlatformError, match="service account"):
        Cluster.connect()
