"""images/build.py's command lines for other platforms, with an engine that writes down what it is asked: it builds nothing here."""

import json
import platform
import sys
from pathlib import Path

import pytest

from images import build

pytestmark = pytest.mark.slow  # processes, or thousands of texts: not before each commit

ENGINE = """#!/bin/sh
printf '%s\\n' "$*" >> "{log}"
case "$1 $2" in
"manifest inspect") cat "{folder}/list.json" ;;
"inspect "*) echo '[{{"Digest": "sha256:0a", "Size": 1000000}}]' ;;
"manifest push" | "push "*) while [ "$1" != --digestfile ]; do shift; done; printf sha256:0b > "$2" ;;
esac
"""
NATIVE = {machine: name for name, machine in build.MACHINES.items()}.get(platform.machine(), "")
FOREIGN = next(name for name in build.MACHINES if name != NATIVE)


@pytest.fixture
def engine(tmp_path, monkeypatch):
    """Run build.py with such a podman, on a machine whose kernel runs every processor's programs; gives what podman was asked."""
    podman, log = tmp_path / "podman", tmp_path / "log"
    podman.write_text(ENGINE.format(log=log, folder=tmp_path))
    listed = [{"platform": {"os": "linux", "architecture": name}} for name in ("arm64", "amd64")]
    (tmp_path / "list.json").write_text(json.dumps({"manifests": listed}))
    podman.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    binfmt = tmp_path / "binfmt"
    binfmt.mkdir()
    for machine in build.MACHINES.values():
        (binfmt / f"qemu-{machine}").touch()
    monkeypatch.setattr(build, "BINFMT", binfmt)
    monkeypatch.setattr(build, "ROOT", tmp_path / "checkout")
    (tmp_path / "checkout").mkdir()
    (tmp_path / "checkout" / "pyproject.toml").write_text('[project]\nversion = "1.2"\n')

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["build.py", "--engine=podman", "--target=data", *arguments])
        build.main()
        return log.read_text().splitlines()

    run.folder = tmp_path / "checkout" / "build"
    run.binfmt = binfmt
    return run


def test_a_platform_of_its_own_has_names_and_references_of_its_own(engine, capsys):
    asked = engine("--platform=linux/arm64", "--network=host")
    [built] = [line for line in asked if line.startswith("build ")]
    assert "--tag mynah-data:1.2-arm64 --platform linux/arm64 " in built
    assert " --network=host " in built
    assert json.loads((engine.folder / "images-arm64.json").read_text()) == {"data": "localhost/mynah-data:1.2-arm64"}
    assert not (engine.folder / "images.json").exists()
    assert capsys.readouterr().out == "localhost/mynah-data:1.2-arm64  1 MB\n"
    assert engine("--platform=linux/arm64", "--push=there/team")[-1].endswith("there/team/mynah-data:1.2-arm64")


def test_several_platforms_are_a_manifest_list_under_the_plain_name(engine, capsys):
    asked = engine("--platform=linux/amd64,linux/arm64", "--push=there/team")
    [built] = [line for line in asked if line.startswith("build ")]
    assert "--manifest mynah-data:1.2-all --platform linux/amd64,linux/arm64 " in built
    assert "--tag" not in built
    assert asked.index("manifest rm mynah-data:1.2-all") < asked.index(built)  # or this build's images join the last one's
    assert asked[-1].endswith(" mynah-data:1.2-all docker://there/team/mynah-data:1.2")
    assert json.loads((engine.folder / "images-all.json").read_text()) == {"data": "there/team/mynah-data@sha256:0b"}
    assert capsys.readouterr().out == "there/team/mynah-data@sha256:0b  linux/amd64, linux/arm64\n"


def test_without_a_platform_the_engine_is_told_of_none(engine):
    [built] = [line for line in engine() if line.startswith("build ")]
    assert "--platform" not in built
    assert "--tag mynah-data:1.2 " in built
    assert json.loads((engine.folder / "images.json").read_text()) == {"data": "localhost/mynah-data:1.2"}


def test_only_a_registry_gives_digests(engine):
    """containerd knows none of an image that was loaded into it: `localhost/…@sha256:…` waits in ErrImageNeverPull for ever."""
    engine()
    assert json.loads((engine.folder / "images.json").read_text()) == {"data": "localhost/mynah-data:1.2"}
    engine("--push=there/team")
    assert json.loads((engine.folder / "images.json").read_text()) == {"data": "there/team/mynah-data@sha256:0b"}


def test_no_image_asks_for_its_own_health():
    """Kubernetes' probes do: Docker's HEALTHCHECK would start a Python every ten seconds beside them."""
    assert "HEALTHCHECK" not in (Path(build.__file__).parent / "Containerfile").read_text("utf-8")


def test_what_cannot_be_built_is_told_before_the_engine_is_asked(engine, capsys, tmp_path):
    with pytest.raises(SystemExit):
        engine("--platform=linux/riscv64")
    assert "'linux/riscv64' is not supported; known: linux/amd64, linux/arm64" in capsys.readouterr().err
    (engine.binfmt / f"qemu-{build.MACHINES[FOREIGN]}").unlink()
    with pytest.raises(SystemExit, match=r"runs no programs for .*qemu-user-static"):
        engine(f"--platform={FOREIGN}")
    with pytest.raises(SystemExit, match="docker keeps several platforms in registries only"):
        engine("--engine=docker", "--platform=linux/amd64,linux/arm64")
    assert not (tmp_path / "log").exists()
