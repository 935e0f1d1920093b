"""`mynah run --runner docker`: runs each step in its image with `kfp.local.DockerRunner`, on Docker or podman (DOCKER_HOST).

A container mounts only what its step needs: the run's and the launcher's folders, writable, and the sources and the base model,
read-only. Its root file system is read-only, it has no privileges, and it runs as the caller. docker and kfp are imported in functions, because only
this runner needs docker, and kfp takes seconds to import.
"""

import contextlib
import os
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.images import image
from components.run_inputs import RunInputs
from mynah.core.errors import InputError, PlatformError
from mynah.core.files import make_folder
from mynah.core.progress import emit_event, waiting
from mynah.core.settings import (
    AWS_CA_BUNDLE,
    DOCKER_HOST,
    MLFLOW_TRACKING_SERVER_CERT_PATH,
    MYNAH_IMAGE,
    MYNAH_NETWORK,
    MYNAH_POWER,
    MYNAH_PRICES,
    select_variables,
)
from mynah.mlflow_client.store import Store
from mynah.registry.locks import lock_location
from pipelines.kfp_compat import run_containers_with
from pipelines.placement import SECRETS_OF

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container
    from kfp.local import DockerRunner

IMAGE_USER = 10001  # the user of images/Containerfile
PASSED_ON = ("AWS_", "HF_", "MLFLOW_", "MYNAH_")  # prefixes of the environment variables that the steps receive
FILE_VARIABLES = (AWS_CA_BUNDLE, MLFLOW_TRACKING_SERVER_CERT_PATH, MYNAH_POWER, MYNAH_PRICES)  # their files are mounted
SECONDS_BETWEEN_POLLS = 0.2
SECONDS_TO_APPEAR = 10  # within which a container appears whose creation was interrupted
SECONDS_TO_STOP = 50  # for an interrupted step; less than the launcher waits for the runner
NOT_STARTED = 125  # the exit code of `docker run` for a container that did not start
ENDED_BY_SIGNAL = 128  # plus the signal's number is the exit code: 137 is SIGKILL


def check(store: Store) -> None:
    """Check the requirements of the steps before the run starts.

    Raises:
        InputError: there is no tracking server, the lock is a file, or an image is missing.
        PlatformError: there is no container engine, or an image cannot be pulled.
    """
    if not store.is_server:
        raise InputError(
            f"steps in containers cannot share {store.shown}",
            "Set MLFLOW_TRACKING_URI to an MLflow server; `make services` starts one on this machine.",
        )
    if lock_location(store).startswith("file:"):
        raise InputError(
            "the lock of promotions is a file, which steps in containers cannot access",
            "Unset MYNAH_LOCK, and set MLFLOW_BACKEND_STORE_URI to the server's PostgreSQL.",
        )
    with engine() as client:
        for target in ("data", "train"):
            _require_image(client, image(target))


@contextlib.contextmanager
def engine() -> "Iterator[DockerClient]":
    """Yield a client of Docker's API, which podman implements too. Raises PlatformError when no engine answers."""
    import docker
    from docker.errors import DockerException

    try:
        client = docker.from_env()
    except DockerException as error:
        raise PlatformError(
            f"no container engine answers at {DOCKER_HOST.get() or 'its usual socket'}: {str(error)[:200]}",
            "Start Docker, or `podman system service --time=0 unix:///run/podman/podman.sock`, and set DOCKER_HOST to its address.",
        ) from error
    try:
        client.ping()
        yield client
    finally:
        client.close()


def _require_image(client: "DockerClient", image: str) -> None:
    """Require an image, and pull it if its name contains a registry. Raises InputError or PlatformError."""
    from docker.errors import DockerException, ImageNotFound

    try:
        client.images.get(image)
        return
    except ImageNotFound as error:
        missing = InputError(
            f"there is no image {image} here",
            "Build it with `make images`, or name others in MYNAH_DATA_IMAGE and MYNAH_TRAIN_IMAGE.",
        )
        if "/" not in image or image.startswith("localhost/"):
            raise missing from error
    try:
        with waiting(f"Pulling {image}"):
            client.images.pull(image)
    except DockerException as error:
        raise PlatformError(f"the image {image} cannot be pulled: {str(error)[:200]}", missing.fix) from error


def visible_paths(inputs: RunInputs, pipeline_root: Path, writes: Sequence[Path]) -> dict[str, list[str]]:
    """Return the paths of this machine that containers mount, as arguments of `runner`.

    The folders are created here; otherwise the engine would create them as root.

    Args:
        inputs: The run's specification, whose sources and base model may be paths.
        pipeline_root: The folder of Kubeflow's runner.
        writes: Further folders that steps write.

    Returns:
        The paths by access, `reads` and `writes`.
    """
    for folder in (pipeline_root, *writes):
        make_folder(folder)
    named = [source.removeprefix("archive:") for source in inputs.sources] + [inputs.base_model]
    files = [str(path) for variable in FILE_VARIABLES if (path := variable.get()) and path.is_file()]
    return {"reads": [path for path in named if path.startswith("/")] + files, "writes": [str(folder) for folder in writes]}


def runner(pipeline_root: str, reads: Sequence[str], writes: Sequence[str]) -> "DockerRunner":
    """Return Kubeflow's runner of containers for this process.

    Args:
        pipeline_root: the folder of Kubeflow's runner, which it mounts itself, writable.
        reads: paths to mount read-only.
        writes: folders to mount writable.
    """
    from docker.types import Mount
    from kfp import local

    run_containers_with(run_container)
    with engine() as client:
        user = _user(client.info(), [pipeline_root, *writes])
    mounts = [Mount(path, path, "bind", read_only=True) for path in dict.fromkeys(reads)]
    return local.DockerRunner(
        user=user,
        mounts=mounts + [Mount(path, path, "bind") for path in writes],
        environment=select_variables(lambda name: name.startswith(PASSED_ON)) | {"_KFP_RUNTIME": "true"},
        network_mode=MYNAH_NETWORK.get(),
        read_only=True,
        tmpfs={"/tmp": "mode=1777"},  # noqa: S108 - in the container
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
    )


def _user(engine_info: dict[str, Any], writes: Sequence[str]) -> str:
    """Return the user of containers, so that the caller owns the files that they write: the caller, or root in a rootless engine.

    When the caller is root, it is the image's user, who becomes the owner of the folders.
    """
    if any("rootless" in option for option in engine_info.get("SecurityOptions") or []):
        return "0:0"
    if os.geteuid():
        return f"{os.geteuid()}:{os.getegid()}"
    for folder in writes:
        for path in (Path(folder), *Path(folder).rglob("*")):  # may contain files of a run without containers
            os.chown(path, IMAGE_USER, IMAGE_USER)
    return f"{IMAGE_USER}:{IMAGE_USER}"


def by_digest(client: "DockerClient", image: str) -> str:
    """Return an image's name with its digest: that of its manifest, or of its configuration where the engine knows no other."""
    name, at, _ = image.partition("@")
    if at:
        return image
    found = client.images.get(image)
    digests = [each for each in found.attrs.get("RepoDigests") or [] if "@" in each]
    return f"{name}@{digests[0].partition('@')[2] if digests else found.id}"


def run_container(client: "DockerClient", image: str, command: list[str], volumes: dict[str, Any], **arguments: Any) -> int:  # noqa: ANN401 - docker's arguments
    """Run a step's container until it ends, and print its log. An interrupt stops the container.

    Kubeflow's function has the engine remove the container and treats a removed container as succeeded, so that a failed step can pass:
    https://github.com/kubeflow/pipelines/issues/13332.

    Args:
        client: the engine.
        image: the image.
        command: the container's command.
        volumes: the volumes, as the engine's client takes them.
        arguments: further arguments of the engine's client.

    Returns:
        The exit code.
    """
    from docker.errors import DockerException

    name = f"mynah-{uuid.uuid4().hex[:12]}"
    try:
        environment = {**arguments.pop("environment", {}), **_secrets(command), MYNAH_IMAGE.name: by_digest(client, image)}
        container = client.containers.run(
            image, command, name=name, detach=True, volumes=volumes, environment=environment, **arguments
        )
    except DockerException as error:
        _remove(client, name)
        problem = f"the container engine did not start a step in {image}: {str(error)[:300]}"
        emit_event("error", kind="PlatformError", problem=problem, fix="Its own log may say more.")
        return NOT_STARTED
    except BaseException:
        _remove(client, name, SECONDS_TO_APPEAR)
        raise
    try:
        code = _ended(container)
    except BaseException:
        _interrupt(container)
        raise
    finally:
        with contextlib.suppress(DockerException):  # the exit code is known; only the log is missing
            print(container.logs().decode(errors="replace"), end="", flush=True)
        container.remove(force=True)
    if code > ENDED_BY_SIGNAL:  # the step could not report it
        problem = f"a step's container ({image}) was ended from outside, with exit code {code}"
        emit_event(
            "error", kind="PlatformError", problem=problem, fix="137 is often too little memory. See the end of pipeline.log."
        )
    return code


def _secrets(command: Sequence[str]) -> dict[str, str]:
    """Return the secrets that only the step of a command receives, as on a cluster."""
    step = command[command.index("--function_to_execute") + 1] if "--function_to_execute" in command else ""
    names = [name for keys in SECRETS_OF.get(step, {}).values() for name in keys]
    return select_variables(names.__contains__)


def _remove(client: "DockerClient", name: str, wait: float = 0.0) -> None:
    """Remove a container whose start failed, if it exists.

    Args:
        client: the engine.
        name: the container's name.
        wait: seconds within which it may still appear.
    """
    from docker.errors import DockerException, NotFound

    deadline = time.monotonic() + wait
    while True:
        try:
            client.containers.get(name).remove(force=True)
            return
        except NotFound:
            if time.monotonic() >= deadline:
                return
            time.sleep(SECONDS_BETWEEN_POLLS)
        except (DockerException, OSError):
            return


def _ended(container: "Container") -> int:
    """Wait until a container ends, and return its exit code.

    It polls, because following the log of a container that has just ended can block forever with podman 4.3.
    """
    while True:
        container.reload()
        if container.status in ("exited", "stopped", "dead"):
            return int(container.attrs["State"]["ExitCode"])
        time.sleep(SECONDS_BETWEEN_POLLS)


def _interrupt(container: "Container") -> None:
    """Send SIGTERM to all processes of a container except the first, a shell that does not forward it, and wait for the end."""
    from docker.errors import DockerException

    with contextlib.suppress(DockerException, OSError):
        container.exec_run(["sh", "-c", "kill -TERM -1"])
        container.wait(timeout=SECONDS_TO_STOP)
