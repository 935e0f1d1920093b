"""`mynah run --runner docker`: each step in its image, on the Docker or podman that DOCKER_HOST names, by `kfp.local.DockerRunner`.

A step sees of this machine what it needs and no more: the run's folder and the launcher's, writable; the sources and the base
model, for reading. Its root file system is read-only, it has no privileges, and it belongs to whoever called.
"""

import contextlib
import os
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.errors import InputError, PlatformError
from components.events import send, waiting
from components.files import make_folder
from components.locks import place_of_lock
from components.store import Store
from pipelines.placing import SECRETS_OF

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container
    from kfp.local import DockerRunner

IMAGE_USER = 10001  # the user of images/Containerfile
NETWORK = "MYNAH_NETWORK"  # the engine's network for the steps; unset, they use this machine's, where `make services` listens
TOLD = ("AWS_", "HF_", "MLFLOW_", "MYNAH_")  # of this environment the steps are told what begins so
NAMES_A_FILE = ("AWS_CA_BUNDLE", "MLFLOW_TRACKING_SERVER_CERT_PATH", "MYNAH_POWER", "MYNAH_PRICES")  # and see these files
SECONDS_BETWEEN_LOOKS = 0.2
SECONDS_TO_APPEAR = 10  # a container whose making was interrupted may be there only after this while
SECONDS_TO_STOP = 50  # for a step that is interrupted, less than the launcher gives the runner
NOT_STARTED = 125  # as `docker run` itself says it
ENDED_BY_SIGNAL = 128  # an exit code above it says by which: 137 is SIGKILL


def check(store: Store) -> None:
    """Find what the steps cannot do without, before anything is made.

    Raises InputError without a server for runs, a lock that the steps see, or an image; PlatformError without an engine.
    """
    if not store.is_server:
        raise InputError(
            f"steps in containers cannot share {store.shown}",
            "Set MLFLOW_TRACKING_URI to an MLflow server; `make services` starts one on this machine.",
        )
    if place_of_lock(store).startswith("file:"):
        raise InputError(
            "the lock of promotions is a file, which steps in containers do not see",
            "Unset MYNAH_LOCK, and set MLFLOW_BACKEND_STORE_URI to the server's PostgreSQL.",
        )
    from components.steps import image

    with engine() as client:
        for target in ("data", "train"):
            _have(client, image(target))


@contextlib.contextmanager
def engine() -> "Iterator[DockerClient]":
    """A client of Docker's API, which podman speaks too. Raises PlatformError when none answers."""
    import docker
    from docker.errors import DockerException

    try:
        client = docker.from_env()
    except DockerException as error:
        raise PlatformError(
            f"no container engine answers at {os.environ.get('DOCKER_HOST') or 'its usual socket'}: {str(error)[:200]}",
            "Start Docker, or `podman system service --time=0 unix:///run/podman/podman.sock`, and set DOCKER_HOST to its address.",
        ) from error
    try:
        client.ping()
        yield client
    finally:
        client.close()


def _have(client: "DockerClient", image: str) -> None:
    """See that the engine has `image`, or pull it where its name says from which registry."""
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


def seen(arguments: dict[str, Any], pipeline_root: Path, writes: Sequence[Path]) -> dict[str, list[str]]:
    """The paths of this machine that the steps see, for `runner`: what the pipeline's `arguments` name, and the folders `writes`.

    The folders are made here, or the engine would make them, as root.
    """
    for folder in (pipeline_root, *writes):
        make_folder(folder)
    named = [source.removeprefix("archive:") for source in arguments["sources"]] + [arguments["base_model"]]
    files = [os.environ[name] for name in NAMES_A_FILE if Path(os.environ.get(name) or "/nowhere").is_file()]
    return {"reads": [path for path in named if path.startswith("/")] + files, "writes": [str(folder) for folder in writes]}


def runner(pipeline_root: str, reads: Sequence[str], writes: Sequence[str]) -> "DockerRunner":
    """Kubeflow's runner for this process, whose containers see `reads` and may write to the folders `writes` and `pipeline_root`.

    It mounts `pipeline_root` by itself.
    """
    from docker.types import Mount
    from kfp import local
    from kfp.local import docker_task_handler

    docker_task_handler.run_docker_container = run_container
    with engine() as client:
        user = _user(client.info(), [pipeline_root, *writes])
    mounts = [Mount(path, path, "bind", read_only=True) for path in dict.fromkeys(reads)]
    return local.DockerRunner(
        user=user,
        mounts=mounts + [Mount(path, path, "bind") for path in writes],
        environment={name: value for name, value in os.environ.items() if name.startswith(TOLD)} | {"_KFP_RUNTIME": "true"},
        network_mode=os.environ.get(NETWORK) or "host",
        read_only=True,
        tmpfs={"/tmp": "mode=1777"},  # noqa: S108 - in the container
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
    )


def _user(engine_info: dict[str, Any], writes: Sequence[str]) -> str:
    """Who a step runs as, so that what it writes is the caller's: the caller, whom a rootless engine calls root.

    For root it is the image's own user, who is given the folders.
    """
    if any("rootless" in option for option in engine_info.get("SecurityOptions") or []):
        return "0:0"
    if os.geteuid():
        return f"{os.geteuid()}:{os.getegid()}"
    for folder in writes:
        for path in (Path(folder), *Path(folder).rglob("*")):  # training states of a run without containers, perhaps
            os.chown(path, IMAGE_USER, IMAGE_USER)
    return f"{IMAGE_USER}:{IMAGE_USER}"


def run_container(client: "DockerClient", image: str, command: list[str], volumes: dict[str, Any], **arguments: Any) -> int:  # noqa: ANN401
    """Run a step's container to its end, print its log, and return its exit code; interrupted, it is ended.

    In place of Kubeflow's own, which has the engine remove the container and takes one that is gone for one that did well: so a
    failed step passes when podman is quicker to remove than Kubeflow to ask. https://github.com/kubeflow/pipelines/issues/13332
    """
    from docker.errors import DockerException

    environment = {**arguments.pop("environment", {}), **_secrets(command), **({"MYNAH_IMAGE": image} if "@" in image else {})}
    name = f"mynah-{uuid.uuid4().hex[:12]}"
    try:
        container = client.containers.run(
            image, command, name=name, detach=True, volumes=volumes, environment=environment, **arguments
        )
    except DockerException as error:
        _remove(client, name)
        problem = f"the container engine did not start a step in {image}: {str(error)[:300]}"
        send("error", kind="PlatformError", problem=problem, fix="Its own log may say more.")
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
        with contextlib.suppress(DockerException):  # it is the log of a step whose end is known already
            print(container.logs().decode(errors="replace"), end="", flush=True)
        container.remove(force=True)
    if code > ENDED_BY_SIGNAL:  # the step had no time to say so
        problem = f"a step's container ({image}) was ended from outside, with exit code {code}"
        send("error", kind="PlatformError", problem=problem, fix="137 is often too little memory. See the end of pipeline.log.")
    return code


def _secrets(command: Sequence[str]) -> dict[str, str]:
    """The secrets that no step is told but the one that `command` runs, as on a cluster."""
    step = command[command.index("--function_to_execute") + 1] if "--function_to_execute" in command else ""
    names = [name for keys in SECRETS_OF.get(step, {}).values() for name in keys]
    return {name: os.environ[name] for name in names if name in os.environ}


def _remove(client: "DockerClient", name: str, patience: float = 0.0) -> None:
    """Remove the container `name`, whose start did not end well, should it be there or appear within `patience` seconds."""
    from docker.errors import DockerException, NotFound

    deadline = time.monotonic() + patience
    while True:
        try:
            client.containers.get(name).remove(force=True)
            return
        except NotFound:
            if time.monotonic() >= deadline:
                return
            time.sleep(SECONDS_BETWEEN_LOOKS)
        except (DockerException, OSError):
            return


def _ended(container: "Container") -> int:
    """Wait for the container's end, and return its exit code.

    By asking again and again: to follow a log whose container has just ended can last for ever with podman 4.3.
    """
    while True:
        container.reload()
        if container.status in ("exited", "stopped", "dead"):
            return int(container.attrs["State"]["ExitCode"])
        time.sleep(SECONDS_BETWEEN_LOOKS)


def _interrupt(container: "Container") -> None:
    """Ask everything in the container but its first process, a shell that would not pass it on, to end; wait a while."""
    from docker.errors import DockerException

    with contextlib.suppress(DockerException, OSError):
        container.exec_run(["sh", "-c", "kill -TERM -1"])
        container.wait(timeout=SECONDS_TO_STOP)
