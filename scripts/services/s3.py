"""Run S3 on loopback: Ceph's RADOS gateway with one OSD in memory, an S3 for production, which checks signatures as Amazon does.

botocore's default checksums need no setting here. Against Ceph 16.2 and boto3 1.44, puts, multipart uploads, copies, versions and
DeleteObjects work: over plain HTTP botocore sends the CRC32 in a header, which Ceph ignores (it checks Content-MD5 and the signed
SHA-256 of the body). Only trailing checksums, which botocore sends over HTTPS, would require
AWS_REQUEST_CHECKSUM_CALCULATION=when_required.
"""

import json
import signal
import uuid
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import boto3
from botocore.client import BaseClient

from mynah.core.errors import PlatformError
from scripts.services.program import Program, answers, find, free_port, run

PACKAGES = {"ceph-authtool": "ceph-common", "ceph": "ceph-common", "monmaptool": "ceph-base", "ceph-mon": "ceph-mon"}
PACKAGES |= {"ceph-osd": "ceph-osd", "radosgw": "radosgw", "radosgw-admin": "ceph-common"}
SECONDS_TO_START = 60.0
# Everything on loopback without replicas, with short intervals of paxos, and logs to stderr only. Three settings were measured: a
# request that is sent before the store is up is sent again only at a tick (5 s by default); a gateway with a cache, started after
# one that was killed, waits 30 s for the dead one before it creates a bucket; and without tcp_nodelay a GET takes 48 ms instead of 4.
CONFIGURATION = """\
[global]
fsid = {fsid}
mon host = [v2:127.0.0.1:{monitor_port}]
public network = 127.0.0.0/8
keyring = {folder}/keyring
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd crush chooseleaf type = 0
osd pool default pg autoscale mode = off
mon allow pool size one = true
mon max pg per osd = 2000
paxos propose interval = 0.01
paxos min wait = 0.01
auth allow insecure global id reclaim = false
objecter tick interval = 0.2
run dir = {folder}
log file =
log to stderr = true
mon cluster log file =
admin socket =
mon data = {folder}/mon
osd data = {folder}/osd
osd objectstore = memstore
memstore device bytes = {memory}
[client.rgw]
rgw frontends = beast endpoint=127.0.0.1:{port} tcp_nodelay=1
rgw cache enabled = false
rgw enable usage log = false
rgw run sync thread = false
"""


@dataclass(frozen=True)
class S3:
    """A running server: a monitor and a store (OSD), which hold everything in memory, and the gateway in front of them."""

    port: int
    access_key: str
    secret_key: str
    monitor: Program
    store: Program
    gateway: Program  # stop, kill and start it for an outage that keeps the objects

    @property
    def url(self) -> str:
        """The endpoint."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which boto3 and MLflow reach the server."""
        return {
            "AWS_ENDPOINT_URL_S3": self.url,
            "MLFLOW_S3_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def client(self) -> BaseClient:
        """Create a boto3 client, independent of the environment, which the caller closes."""
        keys = {"aws_access_key_id": self.access_key, "aws_secret_access_key": self.secret_key}
        return boto3.client("s3", endpoint_url=self.url, region_name="us-east-1", **keys)

    def create_bucket(self, name: str) -> None:
        """Create a bucket."""
        with closing(self.client()) as client:
            client.create_bucket(Bucket=name)

    def stop(self) -> None:
        """Stop all programs; all objects are lost."""
        self.gateway.stop()
        self.kill()

    def kill(self) -> None:
        """Kill all programs; all objects are lost. For an outage that keeps the objects use `gateway.kill()`."""
        for program in (self.gateway, self.store, self.monitor):
            program.kill()

    def restart(self) -> None:
        """Restart the gateway on the same port; the objects stay.

        Raises PlatformError after `stop` or `kill`: the objects were in memory.
        """
        if not (self.store.alive and self.monitor.alive):
            raise PlatformError("the objects were in memory, and are lost with the store", "Start another S3.")
        self.gateway.stop()
        self.start_gateway()

    def start_gateway(self) -> None:
        """Start the gateway, and wait until it responds. Raises PlatformError with the end of its log when it does not."""
        self.gateway.start()
        self.gateway.wait_until(lambda: answers(self.port, "/"), SECONDS_TO_START)

    def __enter__(self) -> "S3":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def programs() -> dict[str, Path]:
    """Return the paths of Ceph's programs. Raises PlatformError when one is missing."""
    return {program: find(program, package) for program, package in PACKAGES.items()}


def start_s3(folder: Path, port: int = 0, *, memory: int = 4 << 30) -> S3:
    """Start an empty S3.

    Args:
        folder: The folder for its keys, logs and pid files.
        port: The port; 0 for any free one.
        memory: The maximum bytes of its objects, allocated as they are used.

    Returns:
        The running server.

    Raises:
        PlatformError: A program is missing, or the server does not start.
    """
    paths = programs()
    folder = folder.resolve()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    port, monitor_port = free_port(port), free_port()
    fsid, settings = str(uuid.uuid4()), folder / "ceph.conf"
    settings.write_text(CONFIGURATION.format(folder=folder, fsid=fsid, monitor_port=monitor_port, port=port, memory=memory))
    environment, setup = {"CEPH_CONF": str(settings)}, folder / "setup.log"

    def program(name: str, *command: str | Path, ends_on: signal.Signals = signal.SIGKILL) -> Program:
        started = Program(name, [*command, "-f"], folder, environment, ends_on)
        undo.callback(started.kill)
        return started

    with ExitStack() as undo:
        _initialise(paths, folder, f"[v2:127.0.0.1:{monitor_port}]", fsid)
        monitor = program("monitor", paths["ceph-mon"], "-i", "a")
        monitor.start()
        osd = str(uuid.uuid4())
        run([paths["ceph"], "--connect-timeout", "30", "osd", "new", osd], setup, environment)
        run([paths["ceph-osd"], "-i", "0", "--mkfs", "--osd-uuid", osd], setup, environment)
        store = program("store", paths["ceph-osd"], "-i", "0")
        store.start()
        user = [
            "user",
            "create",
            "--uid=mynah",
            "--display-name=mynah",
        ]  # it generates the keys, so that no argument contains them
        made = json.loads(run([paths["radosgw-admin"], "-n", "client.rgw", *user], setup, environment))
        gateway = program("gateway", paths["radosgw"], "-n", "client.rgw", ends_on=signal.SIGTERM)
        s3 = S3(port, made["keys"][0]["access_key"], made["keys"][0]["secret_key"], monitor, store, gateway)
        s3.start_gateway()
        undo.pop_all()
    return s3


def _initialise(paths: dict[str, Path], folder: Path, monitor: str, fsid: str) -> None:
    """Create the keys of the cluster's parts and the monitor's store.

    Args:
        paths: The programs.
        folder: The folder for keys and stores.
        monitor: The monitor's address.
        fsid: The cluster's id.
    """
    environment, log, keyring = {"CEPH_CONF": str(folder / "ceph.conf")}, folder / "setup.log", folder / "keyring"
    for name in ("mon", "osd"):
        (folder / name).mkdir()
    everything = ["--cap", "mon", "allow *", "--cap", "osd", "allow *"]
    store = ["--cap", "mon", "allow profile osd", "--cap", "osd", "allow *"]
    run([paths["ceph-authtool"], "-C", "-n", "mon.", "--gen-key", "--cap", "mon", "allow *", keyring], log, environment)
    for name, capabilities in {"client.admin": everything, "client.rgw": everything, "osd.0": store}.items():
        run([paths["ceph-authtool"], "-n", name, "--gen-key", *capabilities, keyring], log, environment)
    run([paths["monmaptool"], "--create", "--fsid", fsid, "--addv", "a", monitor, folder / "monmap"], log, environment)
    run([paths["ceph-mon"], "--mkfs", "-i", "a", "--monmap", folder / "monmap", "--keyring", keyring], log, environment)
