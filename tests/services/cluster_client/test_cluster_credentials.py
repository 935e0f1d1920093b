"""How a cluster is found: contexts, kubeconfig files and a pod's service account."""

import pytest
from fake_kubernetes import TOKEN, FakeKubernetes, write_kubeconfig

from mynah.core.errors import InputError, PlatformError
from mynah.kubernetes import cluster as cluster_module
from mynah.kubernetes.cluster import Cluster
from tests.services.certificates import self_signed
from tests.services.cluster_client.cluster_services import fails_within, put_service


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
    with pytest.raises(InputError, match="no context 'prod'\nIts contexts: elsewhere, fake"):
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
