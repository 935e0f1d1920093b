"""The images, built once by a container engine."""

import json

import pytest

from tests.services.containers import engine_in, facts


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    with engine_in(tmp_path_factory.mktemp("containers")) as started:
        yield started


@pytest.fixture(scope="module")
def again(engine):
    """A second build of data with nothing of the first, while the others are built: its reference, when it is there."""
    out, log = engine.folder / "again.json", engine.folder / "again.log"
    with log.open("wb") as output:
        command = engine.build("--target=data", "--tag=again", "--out", out, "--no-cache")
        building = engine.start(*command, stdout=output, stderr=output)

    def wait():
        assert building.wait() == 0, log.read_text()[-3000:]
        return json.loads(out.read_text())["data"]

    yield wait
    building.kill()
    building.wait()


@pytest.fixture(scope="module")
def data_first(engine):
    out = engine.folder / "images.json"
    return out, engine.get(*engine.build("--target=data", "--out", out))


@pytest.fixture(scope="module")
def built(engine, data_first, again):
    """build/images.json, and what the build printed."""
    out, printed = data_first
    printed += "\n" + engine.get(*engine.build("--target=train", "--target=serve", "--out", out))
    return json.loads(out.read_text()), printed


@pytest.fixture(scope="module")
def images(built):
    return built[0]


@pytest.fixture(scope="module")
def inside(engine, images):
    return {target: facts(engine, image) for target, image in images.items()}


@pytest.fixture
def docker(engine, images, monkeypatch):
    """This process and its children find the engine and the images."""
    for name, value in engine.environment.items():
        if name != "TMPDIR":
            monkeypatch.setenv(name, value)
    monkeypatch.setenv("MYNAH_DATA_IMAGE", images["data"])
    monkeypatch.setenv("MYNAH_TRAIN_IMAGE", images["train"])
    with engine.socket() as address:
        monkeypatch.setenv("DOCKER_HOST", address)
        yield engine
