"""The environment variables that configure Mynah: one typed record each, read when it is needed.

    from mynah.core.settings import MYNAH_NODE_KIND

    kind = MYNAH_NODE_KIND.get()

A constant has the name of its variable. docs/configuration.md shows the records, and a test compares the two. Nothing is read at import,
because tests and pods set variables late. A variable that is set to "" counts as unset.
"""

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Generic, Literal, TypeVar

from mynah.core.errors import InputError

Reader = Literal["command line", "step", "server", "tests", "make"]
T = TypeVar("T")

COMMANDS: Final[tuple[Reader, ...]] = ("command line",)
STEPS: Final[tuple[Reader, ...]] = ("step",)
COMMANDS_AND_STEPS: Final[tuple[Reader, ...]] = ("command line", "step")
EVERYWHERE: Final[tuple[Reader, ...]] = ("command line", "step", "server")


@dataclass(frozen=True, slots=True)
class Variable(Generic[T]):
    """One environment variable.

    Attributes:
        name: The name in the environment.
        meaning: What it sets, in a sentence without a full stop.
        readers: Who reads it; none where Mynah only passes it to a library or to a process that it starts.
        default: What `get` returns when it is unset.
        parse: Converts its text to a value; raises ValueError for an invalid text.
        fix: What the error for an invalid text recommends.
        default_is: The default in words, where it is not `default` itself.
        owner: The project that defines the variable.
    """

    name: str
    meaning: str
    readers: tuple[Reader, ...]
    default: T
    parse: Callable[[str], T]
    fix: str = ""
    default_is: str = ""
    owner: str = "Mynah"

    def get(self) -> T:
        """Return the current value. Raises InputError with the name, the value and the fix for an invalid text."""
        text = os.environ.get(self.name, "")
        if not text:
            return self.default
        try:
            return self.parse(text)
        except ValueError as error:
            raise InputError(f"{self.name} is {text[:40]!r}", self.fix) from error

    def is_set(self) -> bool:
        """Return whether the environment has the variable, even with an empty value."""
        return self.name in os.environ


def select_variables(is_selected: Callable[[str], bool]) -> dict[str, str]:
    """Return the variables of this environment whose names `is_selected` accepts, to pass them to another process."""
    return {name: value for name, value in os.environ.items() if is_selected(name)}


def _text(
    name: str, meaning: str, readers: tuple[Reader, ...], default: str = "", *, default_is: str = "", owner: str = "Mynah"
) -> Variable[str]:
    return Variable(name, meaning, readers, default, str, default_is=default_is, owner=owner)


def _path(
    name: str, meaning: str, readers: tuple[Reader, ...], *, default_is: str = "", owner: str = "Mynah"
) -> Variable[Path | None]:
    return Variable(name, meaning, readers, None, Path, default_is=default_is, owner=owner)


def _int(name: str, meaning: str, default: int) -> Variable[int]:
    """Create the record of a whole number that torchrun sets in every process that it starts."""
    return Variable(
        name, meaning, STEPS, default, int, "Start the step by itself or with torchrun, which sets it.", owner="torchrun"
    )


def _float(
    name: str, meaning: str, readers: tuple[Reader, ...], default: float, fix: str, *, below: float = math.inf
) -> Variable[float]:
    """Create the record of a number from 0, less than `below`."""

    def parse(text: str) -> float:
        value = float(text)
        if not 0 <= value < below:
            raise ValueError(f"{value} is not from 0 to {below}")
        return value

    return Variable(name, meaning, readers, default, parse, fix)


def _seconds(name: str, meaning: str, readers: tuple[Reader, ...], default_is: str, fix: str) -> Variable[float | None]:
    """Create the record of seconds from 0 to an hour, whose default depends on where the process runs."""

    def parse(text: str) -> float:
        value = float(text)
        if not 0 <= value <= 3600:
            raise ValueError(f"{value} is not from 0 to 3600")
        return value

    return Variable(name, meaning, readers, None, parse, fix, default_is=default_is)


def _bool(name: str, meaning: str, readers: tuple[Reader, ...]) -> Variable[bool]:
    """Create the record of a switch: 1 or true is on, 0 or false is off."""

    def parse(text: str) -> bool:
        if text.strip().lower() not in ("1", "true", "0", "false"):
            raise ValueError(f"{text!r} is neither true nor false")
        return text.strip().lower() in ("1", "true")

    return Variable(name, meaning, readers, False, parse, "Set it to 1 or 0, or unset it.")


# fmt: off

# Where runs, bots and posts are stored
MYNAH_WORKDIR = _path(
    "MYNAH_WORKDIR", "The folder for runs, MLflow's store and the registry; --workdir", EVERYWHERE, default_is="`~/.mynah`",
)
MYNAH_S3_BUCKET = _text(
    "MYNAH_S3_BUCKET", "The bucket of the installation: files of runs on a cluster, training states and pages of X; --bucket",
    COMMANDS_AND_STEPS,
)
MYNAH_CACHE = _path(
    "MYNAH_CACHE", "The folder that keeps downloaded pages of X and converted GGUF files", COMMANDS_AND_STEPS,
    default_is="`$XDG_CACHE_HOME/mynah`",
)
MYNAH_CHECKPOINTS = _text(
    "MYNAH_CHECKPOINTS", "Where training states are kept: a folder, or `s3://BUCKET/PREFIX`", COMMANDS_AND_STEPS,
    default_is="`MYNAH_S3_BUCKET`, else the work folder",
)
MYNAH_CHECKPOINT_SECONDS = _float(
    "MYNAH_CHECKPOINT_SECONDS", "Seconds between two training states of a pipeline; 0 keeps one after every step",
    COMMANDS_AND_STEPS, 300.0, "Set it to seconds from 0, which keeps a state after every step.",
)
MYNAH_LOCK = _text(
    "MYNAH_LOCK", "The lock under which promotions take turns: `postgresql://…`, `lease:NAMESPACE` in Kubernetes, or `file:FOLDER`",
    COMMANDS_AND_STEPS, default_is="the store's database; in a pod, a Lease",
)
MYNAH_ACTOR = _text(
    "MYNAH_ACTOR", "The name that the record of decisions gets", COMMANDS_AND_STEPS,
    default_is="`MLFLOW_TRACKING_USERNAME`, else `USER@HOST`",
)
MYNAH_MLFLOW_URL = _text(
    "MYNAH_MLFLOW_URL", "Where people open MLflow, for the links of cards", COMMANDS_AND_STEPS,
    default_is="the address that the steps use",
)
MYNAH_RECEIPT_KEY_FILE = _path(
    "MYNAH_RECEIPT_KEY_FILE", "The private key (Ed25519, PEM) that signs receipts of `mynah forget`", COMMANDS_AND_STEPS,
    default_is="a key in the work folder, made at first use",
)
KF_PIPELINES_ARTIFACTS = _text(
    "KF_PIPELINES_ARTIFACTS", "Kubeflow's pipeline root, such as `s3://mlpipeline/v2/artifacts`, in which `mynah forget` erases what is left of runs",
    COMMANDS,
)
KF_PIPELINES_ARTIFACTS_ENDPOINT_URL = _text(
    "KF_PIPELINES_ARTIFACTS_ENDPOINT_URL", "The address of the S3 that holds it", COMMANDS, default_is="`AWS_ENDPOINT_URL_S3`",
)
KF_PIPELINES_ARTIFACTS_ACCESS_KEY_ID = _text(
    "KF_PIPELINES_ARTIFACTS_ACCESS_KEY_ID", "The key to it", COMMANDS, default_is="`AWS_ACCESS_KEY_ID`",
)
KF_PIPELINES_ARTIFACTS_SECRET_ACCESS_KEY = _text(
    "KF_PIPELINES_ARTIFACTS_SECRET_ACCESS_KEY", "The secret of that key", COMMANDS, default_is="`AWS_SECRET_ACCESS_KEY`",
)

# Sources of posts
X_BEARER_TOKEN = _text("X_BEARER_TOKEN", "The key to X's API, for `x://` sources", COMMANDS_AND_STEPS)
MYNAH_X_PRICE_PER_POST = _float(  # https://docs.x.com/x-api/getting-started/pricing, August 2026
    "MYNAH_X_PRICE_PER_POST", "What X charges for a post that is read, in US dollars", COMMANDS_AND_STEPS,
    0.005, "Write US dollars a post, such as 0.005.", below=1000,
)
MYNAH_X_API = _text("MYNAH_X_API", "The address of X's API", COMMANDS_AND_STEPS, "https://api.x.com")
MYNAH_BLUESKY_API = _text("MYNAH_BLUESKY_API", "The address of Bluesky's API", COMMANDS_AND_STEPS, "https://public.api.bsky.app")
MYNAH_MASTODON_API = _text(
    "MYNAH_MASTODON_API", "The address of every Mastodon server's API", COMMANDS_AND_STEPS,
    default_is="`https://` and the account's host",
)

# Servers that cannot be reached yet
MYNAH_WAIT_SECONDS = _seconds(
    "MYNAH_WAIT_SECONDS", "Seconds to wait for MLflow, S3, PostgreSQL and Kubeflow Pipelines when they cannot be reached yet; 0 does not wait",
    EVERYWHERE, "60 in a pod and for `mynah submit` and `mynah fleet`, else 4", "Set it to seconds from 0 to 3600.",
)

# Machines and what they cost
MYNAH_NODE_KIND = _text(
    "MYNAH_NODE_KIND", "The kind of node that a step runs on, as in the table of prices", COMMANDS_AND_STEPS,
    "laptop",
)
MYNAH_SERVING_NODE_KIND = _text(
    "MYNAH_SERVING_NODE_KIND", "The kind of node that bots are served on, as in the table of prices", COMMANDS_AND_STEPS,
    "cpu",
)
MYNAH_PRICES = _path(
    "MYNAH_PRICES", "The YAML file with US dollars an hour of each kind of node", COMMANDS_AND_STEPS,
    default_is="`mynah/core/prices.yaml`",
)
MYNAH_POWER = _path(
    "MYNAH_POWER", "The YAML file with the watts that each kind of node draws", COMMANDS_AND_STEPS,
    default_is="`mynah/tracking/power.yaml`",
)
MYNAH_BASE_MODEL = _text(
    "MYNAH_BASE_MODEL", "The base model of runs on this machine, where --base-model names none", COMMANDS_AND_STEPS,
    default_is="`smollm2` where its package is installed, else `fledgling`",
)
MYNAH_BASES = _path(
    "MYNAH_BASES", "A folder of base models for adapters, each in a folder named by the digest of its weights", EVERYWHERE,
)
MYNAH_KERNELS = _text(
    "MYNAH_KERNELS", "The kernels that the decoder computes with, such as `onednn-fp32` (docs/platforms.md)", EVERYWHERE,
    default_is="the best of this machine",
)

# Containers and clusters
MYNAH_DATA_IMAGE = _text(
    "MYNAH_DATA_IMAGE", "The image of the steps that need no torch", COMMANDS_AND_STEPS,
    default_is="`mynah-data:VERSION`",
)
MYNAH_TRAIN_IMAGE = _text(
    "MYNAH_TRAIN_IMAGE", "The image of the steps that need torch", COMMANDS_AND_STEPS,
    default_is="`mynah-train:VERSION`",
)
MYNAH_NETWORK = _text("MYNAH_NETWORK", "The container engine's network for steps in containers", COMMANDS, "host")
MYNAH_KUBE_CONTEXT = _text(
    "MYNAH_KUBE_CONTEXT", "The kubeconfig context of the cluster that serves bots; --context", COMMANDS_AND_STEPS,
    default_is="none; in a pod, its own cluster",
)
MYNAH_API_KEY = _text("MYNAH_API_KEY", "The API key with which `mynah deploy` tests the bot that it deployed", COMMANDS_AND_STEPS)
MYNAH_BOT_ADDRESS = _text(
    "MYNAH_BOT_ADDRESS", "The address at which `mynah deploy` tests the bot, with `{service}` and `{namespace}` in it; --address",
    COMMANDS_AND_STEPS, default_is="through Kubernetes' API",
)

# The server
MYNAH_KEYS = _path("MYNAH_KEYS", "The file with hashed API keys; --keys, and --file of `mynah keys`", ("command line", "server"))
MYNAH_WEBHOOK_SECRET = _text("MYNAH_WEBHOOK_SECRET", "The secret with which MLflow's webhooks sign their requests to `mynah serve`", ("server",))
MYNAH_MODEL_NAME = _text(
    "MYNAH_MODEL_NAME", "The name of a bot that is served from a folder; --name", ("server",),
    default_is="`model`",
)
MYNAH_MODEL_VERSION = _text("MYNAH_MODEL_VERSION", "The version of a bot that is served from a folder; --version", ("server",), "1")

# Set by Mynah for what it starts
MYNAH_IMAGE = _text("MYNAH_IMAGE", "The image that a step runs in, by its digest; set for the step", STEPS)
MYNAH_TRAIN_NODES = _text(
    "MYNAH_TRAIN_NODES", "The nodes that train one model together, as JSON; set for the step by `mynah submit --nodes`", STEPS,
    default_is="the step trains by itself",
)
MYNAH_EVENTS = _path(
    "MYNAH_EVENTS", "The file for a step's progress and messages; set by `mynah run`", STEPS,
    default_is="stderr",
)
MYNAH_UNSENT = _path("MYNAH_UNSENT", "The folder for records that a step could not send; set by `mynah run`", STEPS)

# Installing and testing
MYNAH_TORCH = _text(
    "MYNAH_TORCH", "The torch that make installs: `auto`, `cpu`, `cuda` or `pip` (docs/installation.md)", ("make",),
    "auto",
)
MYNAH_REQUIRE_SERVICES = _bool(
    "MYNAH_REQUIRE_SERVICES", "Fail a test whose real service is absent, instead of skipping it", ("tests",),
)
MYNAH_TESTS_FORK = _bool(
    "MYNAH_TESTS_FORK", "Fork the processes that tests start from one that has imported their libraries", ("tests",),
)

# Variables of MLflow
MLFLOW_TRACKING_URI = _text(
    "MLFLOW_TRACKING_URI", "The MLflow server", EVERYWHERE,
    default_is="sqlite in the work folder", owner="MLflow",
)
MLFLOW_BACKEND_STORE_URI = _text(
    "MLFLOW_BACKEND_STORE_URI", "The PostgreSQL of the MLflow server: the lock under which promotions take turns, and what `mynah forget` erases",
    EVERYWHERE, owner="MLflow",
)
MLFLOW_ARTIFACTS_DESTINATION = _text(
    "MLFLOW_ARTIFACTS_DESTINATION", "The bucket behind an MLflow server that proxies artifacts, for `mynah forget` and `mynah prune`",
    EVERYWHERE, owner="MLflow",
)
MLFLOW_TRACKING_USERNAME = _text(
    "MLFLOW_TRACKING_USERNAME", "The user at an MLflow server with basic auth; also the name in the record of decisions", EVERYWHERE,
    owner="MLflow",
)
MLFLOW_TRACKING_PASSWORD = _text("MLFLOW_TRACKING_PASSWORD", "The password of that user", (), owner="MLflow")
MLFLOW_TRACKING_SERVER_CERT_PATH = _path(
    "MLFLOW_TRACKING_SERVER_CERT_PATH", "The certificate of the authority of an MLflow server; steps in containers see the file",
    (), owner="MLflow",
)
MLFLOW_HTTP_REQUEST_MAX_RETRIES = _text(
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES", "How often MLflow's client tries a request again", (),
    "2", owner="MLflow",
)
MLFLOW_HTTP_REQUEST_TIMEOUT = _text(
    "MLFLOW_HTTP_REQUEST_TIMEOUT", "Seconds that MLflow's client waits for an answer", (),
    "20", owner="MLflow",
)
MLFLOW_DISABLE_TELEMETRY = _text(
    "MLFLOW_DISABLE_TELEMETRY", "`true` keeps MLflow from sending telemetry", (),
    "true", owner="MLflow",
)
MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT = _text(
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "`true` keeps MLflow from printing links to stdout, which is for results", (),
    "true", owner="MLflow",
)

# Variables of S3 clients
AWS_ENDPOINT_URL_S3 = _text("AWS_ENDPOINT_URL_S3", "The address of S3 where it is not AWS", EVERYWHERE, owner="AWS")
AWS_PROFILE = _text("AWS_PROFILE", "The profile of the AWS configuration that has the credentials", EVERYWHERE, owner="AWS")
AWS_ACCESS_KEY_ID = _text("AWS_ACCESS_KEY_ID", "The key to the bucket", EVERYWHERE, owner="AWS")
AWS_SECRET_ACCESS_KEY = _text("AWS_SECRET_ACCESS_KEY", "The secret of that key", EVERYWHERE, owner="AWS")
AWS_SESSION_TOKEN = _text("AWS_SESSION_TOKEN", "The token of temporary credentials", EVERYWHERE, owner="AWS")
AWS_REGION = _text("AWS_REGION", "The region of the bucket, for what does not read AWS_DEFAULT_REGION", (), owner="AWS")
AWS_DEFAULT_REGION = _text("AWS_DEFAULT_REGION", "The region of the bucket, for boto3", (), owner="AWS")
AWS_CA_BUNDLE = _path(
    "AWS_CA_BUNDLE", "The certificate of the authority of S3; steps in containers see the file", (),
    owner="AWS",
)

# Variables of Kubeflow Pipelines
KF_PIPELINES_ENDPOINT = _text(
    "KF_PIPELINES_ENDPOINT", "The address of Kubeflow Pipelines' API; --endpoint", COMMANDS,
    default_is="in a pod, its own cluster's", owner="Kubeflow Pipelines",
)
KF_PIPELINES_NAMESPACE = _text(
    "KF_PIPELINES_NAMESPACE", "The namespace of your profile, where several people share one Kubeflow; --namespace", COMMANDS,
    owner="Kubeflow Pipelines",
)
KF_PIPELINES_TOKEN = _text("KF_PIPELINES_TOKEN", "A token for Kubeflow Pipelines", COMMANDS, owner="Kubeflow Pipelines")
KF_PIPELINES_SA_TOKEN_PATH = _path(
    "KF_PIPELINES_SA_TOKEN_PATH", "A file with such a token, read for each request; --token-file", COMMANDS,
    owner="Kubeflow Pipelines",
)
KF_PIPELINES_COOKIE = _text(
    "KF_PIPELINES_COOKIE", "A cookie for an authenticating proxy in front of Kubeflow Pipelines", COMMANDS,
    owner="Kubeflow Pipelines",
)
KF_PIPELINES_SSL_CA_CERT = _path(
    "KF_PIPELINES_SSL_CA_CERT", "The certificate of the authority of Kubeflow Pipelines", COMMANDS,
    owner="Kubeflow Pipelines",
)

# Variables of the Hugging Face hub's client
HF_ENDPOINT = _text(
    "HF_ENDPOINT", "The address of the Hugging Face hub, for `mynah publish`", COMMANDS_AND_STEPS,
    "https://huggingface.co", owner="Hugging Face",
)
HF_TOKEN = _text("HF_TOKEN", "The token for the Hugging Face hub", (), default_is="the token of `hf auth login`", owner="Hugging Face")
HF_HUB_OFFLINE = _text("HF_HUB_OFFLINE", "`1` keeps away from the hub", (), owner="Hugging Face")
TOKENIZERS_PARALLELISM = _text(
    "TOKENIZERS_PARALLELISM", "`false` keeps tokenizers from using threads of their own; set for the steps", (),
    "false", owner="Hugging Face",
)

# Variables of OpenTelemetry
OTEL_SDK_DISABLED = _text("OTEL_SDK_DISABLED", "`true` sends no traces, whatever else is set", ("server",), owner="OpenTelemetry")
OTEL_EXPORTER_OTLP_ENDPOINT = _text(
    "OTEL_EXPORTER_OTLP_ENDPOINT", "The collector that the server sends its traces to", ("server",),
    default_is="no traces", owner="OpenTelemetry",
)
OTEL_EXPORTER_OTLP_TRACES_ENDPOINT = _text(
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "The collector for traces alone", ("server",),
    owner="OpenTelemetry",
)
OTEL_EXPORTER_OTLP_PROTOCOL = _text(
    "OTEL_EXPORTER_OTLP_PROTOCOL", "The protocol of the collector; the server has only `http/protobuf`", ("server",),
    "http/protobuf", owner="OpenTelemetry",
)
OTEL_EXPORTER_OTLP_TRACES_PROTOCOL = _text(
    "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "The protocol for traces alone", ("server",),
    owner="OpenTelemetry",
)
OTEL_SERVICE_NAME = _text(
    "OTEL_SERVICE_NAME", "The name of the server in traces", ("server",),
    default_is="`mynah`", owner="OpenTelemetry",
)
OTEL_RESOURCE_ATTRIBUTES = _text(
    "OTEL_RESOURCE_ATTRIBUTES", "More about the server for traces; `service.name=` in it names the server too", ("server",),
    owner="OpenTelemetry",
)

# Variables of OpenMP
OMP_NUM_THREADS = _text(
    "OMP_NUM_THREADS", "How many threads compute", (),
    default_is="the cores, or the container's limit", owner="OpenMP",
)
OMP_WAIT_POLICY = _text(
    "OMP_WAIT_POLICY", "How threads wait for one another: `ACTIVE` or `PASSIVE`", EVERYWHERE,
    default_is="`PASSIVE`", owner="OpenMP",
)
GOMP_SPINCOUNT = _text(
    "GOMP_SPINCOUNT", "How many turns a waiting thread spins before it sleeps", EVERYWHERE,
    default_is="1000 to train, 10000 to serve", owner="OpenMP",
)

# Variables of torchrun, which starts the processes of a distributed training run
WORLD_SIZE = _int("WORLD_SIZE", "How many processes train together", 1)
RANK = _int("RANK", "The number of this process among them; 0 reports and writes", 0)
LOCAL_RANK = _int("LOCAL_RANK", "The number of this process on its machine, and of its GPU", 0)
PET_NODE_RANK = _int("PET_NODE_RANK", "The number of this node among those that train together; set by Kubeflow Trainer", 0)
PET_NPROC_PER_NODE = _int("PET_NPROC_PER_NODE", "How many processes train on each of these nodes; set by Kubeflow Trainer", 1)

# Variables of the operating system and its services
DOCKER_HOST = _text(
    "DOCKER_HOST", "The address of the container engine", COMMANDS,
    default_is="this machine's socket", owner="Docker",
)
KUBECONFIG = _text("KUBECONFIG", "The kubeconfig files", COMMANDS_AND_STEPS, "~/.kube/config", owner="Kubernetes")
KUBERNETES_SERVICE_HOST = _text(
    "KUBERNETES_SERVICE_HOST", "Set in every pod: the cluster's API, by which a pod is recognized", EVERYWHERE,
    owner="Kubernetes",
)
XDG_CACHE_HOME = _text("XDG_CACHE_HOME", "Your folder for caches", COMMANDS_AND_STEPS, "~/.cache", owner="the system")
TMPDIR = _text("TMPDIR", "The folder for temporary files; set for the steps of `mynah run`", STEPS, owner="the system")
PATH = _text("PATH", "The folders of programs", STEPS, os.defpath, default_is="the system's", owner="the system")
# fmt: on

VARIABLES: Final[dict[str, Variable[Any]]] = {
    value.name: value for value in list(globals().values()) if isinstance(value, Variable)
}
