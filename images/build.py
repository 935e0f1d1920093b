"""Build the images data, train and serve with podman, buildah or docker, and write their references to build/images.json.

`python images/build.py --help`, or `make images`. Needs nothing but Python's own library.
"""

import argparse
import ast
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TARGETS = ("data", "train", "serve")
# Docker's format: every registry and every `docker load` takes it.
BUILD = {
    "podman": ["podman", "build", "--format=docker", "--layers"],
    "buildah": ["buildah", "build", "--format=docker", "--layers"],
    "docker": ["docker", "buildx", "build", "--load"],
}
MACHINES = {"linux/amd64": "x86_64", "linux/arm64": "aarch64"}  # the platforms, and how their kernels and QEMU name the processor
BINFMT = Path("/proc/sys/fs/binfmt_misc")  # where Linux lists which interpreters run other processors' programs


@dataclass(frozen=True, slots=True)
class Image:
    """An image that was built: its reference, and its size in bytes or its platforms, in words."""

    reference: str
    described: str


@dataclass(frozen=True, slots=True)
class Platforms:
    """The platforms that were named with --platform; none of them means this machine's."""

    names: tuple[str, ...]

    @property
    def is_list(self) -> bool:
        """Whether each image is a manifest list, of which a node pulls its own platform's part."""
        return len(self.names) > 1

    @property
    def suffix(self) -> str:
        """What keeps local names and the file of references apart from those of this machine's own platform."""
        return "-all" if self.is_list else f"-{self.names[0].rpartition('/')[2]}" if self.names else ""

    @property
    def pushed_suffix(self) -> str:
        """What keeps them apart in a registry, where a manifest list serves every platform under the plain name."""
        return "" if self.is_list else self.suffix


def parse_platforms(text: str) -> Platforms:
    """Read "linux/arm64" or "linux/amd64,linux/arm64"; raises argparse's error for a platform that is not supported."""
    names = tuple(dict.fromkeys(name for name in text.split(",") if name))
    for name in names:
        if name not in MACHINES:
            raise argparse.ArgumentTypeError(f"{name!r} is not supported; known: {', '.join(MACHINES)}")
    return Platforms(names)


def check_platforms(engine: str, platforms: Platforms) -> None:
    """End this program where the engine cannot build for a platform. Docker's own builder knows what it can emulate."""
    if engine == "docker":
        if platforms.is_list:
            sys.exit(
                "error: docker keeps several platforms in registries only. Name one --platform at a time, or use podman or buildah."
            )
        return
    foreign = [MACHINES[name] for name in platforms.names if MACHINES[name] != platform.machine()]
    for machine in foreign:
        if not (BINFMT / f"qemu-{machine}").exists():
            sys.exit(
                f"error: this machine ({platform.machine()}) runs no programs for {machine}. Install QEMU, on Debian: "
                f"apt-get install qemu-user-static; images/README.md tells how to register it, or build on a machine of that kind."
            )


def run(*command: str) -> str:
    """Run a command and return what it prints; what it says on stderr is shown. Ends this program when it fails."""
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(f"error: {' '.join(command[:3])} … failed (exit code {done.returncode}); its own words are above.")
    return done.stdout.strip()


def engine_here() -> str:
    """The first engine that is installed."""
    for engine in BUILD:
        if shutil.which(engine):
            return engine
    sys.exit("error: there is no podman, buildah or docker here. Install one, on Debian: apt-get install podman buildah")


def git(*arguments: str) -> str:
    """What git says of this checkout; "" where there is no git or no checkout."""
    try:
        return subprocess.run(["git", "-C", ROOT, *arguments], capture_output=True, text=True, check=False).stdout.strip()  # noqa: S607 - git from PATH
    except FileNotFoundError:
        return ""


def epoch() -> int:
    """The time that everything in an image gets, in seconds: SOURCE_DATE_EPOCH, the commit's, or that of pyproject.toml."""
    told = os.environ.get("SOURCE_DATE_EPOCH") or git("log", "-1", "--format=%ct")
    return int(told) if told else int((ROOT / "pyproject.toml").stat().st_mtime)


def version() -> str:
    """Mynah's."""
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"])


def labels() -> Iterator[str]:
    """OCI's labels that depend on the checkout. https://github.com/opencontainers/image-spec/blob/main/annotations.md"""
    yield f"version={version()}"
    yield f"created={time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(epoch()))}"
    if revision := git("rev-parse", "HEAD"):
        yield f"revision={revision}{'-dirty' if git('status', '--porcelain') else ''}"
    origin = git("config", "--get", "remote.origin.url")
    if origin.startswith("https://") and "@" not in origin:
        yield f"source={origin.removesuffix('.git')}"


def pip_settings(folder: Path) -> None:
    """Write to `folder` what this machine's pip is told of indexes, as a pip.conf; a CA and local wheels are copied beside it."""
    told = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False).stdout
    lines, found = ["[global]"], {}
    for line in told.splitlines():
        key, equals, value = line.partition("=")
        if equals:
            found[key.rpartition(".")[2]] = str(ast.literal_eval(value))
    lines += [f"{key} = {found[key]}" for key in ("index-url", "trusted-host") if key in found]
    if extra := [url for url in found.get("extra-index-url", "").split() if not url.startswith("file:")]:
        lines.append(f"extra-index-url = {' '.join(extra)}")
    if cert := found.get("cert"):
        shutil.copy(cert, folder / "ca.pem")
        lines.append("cert = /pip-settings/ca.pem")
    (folder / "wheels").mkdir()
    links = found.get("find-links", "").split()
    for wheel in (wheel for place in links for wheel in Path(place).glob("*.whl")):
        shutil.copy(wheel, folder / "wheels")
    lines.append(" ".join(["find-links = /pip-settings/wheels", *(link for link in links if "://" in link)]))
    (folder / "pip.conf").write_text("\n".join(lines) + "\n", "utf-8")


def build(engine: str, target: str, tag: str, platforms: Platforms, settings: Path, more: Sequence[str]) -> str:
    """Build one image and return its local name."""
    name = f"mynah-{target}:{tag}{platforms.suffix}"
    timestamp = ["--build-arg", f"SOURCE_DATE_EPOCH={epoch()}"] if engine == "docker" else ["--timestamp", str(epoch())]
    if engine != "docker":  # docker finds it by its name
        timestamp += ["--ignorefile", str(ROOT / "images" / "Containerfile.dockerignore")]
    told = [part for label in labels() for part in ("--label", f"org.opencontainers.image.{label}")]
    if platforms.is_list:  # a list that exists already would be added to
        subprocess.run([engine, "manifest", "rm", name], capture_output=True, check=False)
    file = [
        "--file",
        str(ROOT / "images" / "Containerfile"),
        "--target",
        target,
        "--manifest" if platforms.is_list else "--tag",
        name,
    ]
    if platforms.names:
        file += ["--platform", ",".join(platforms.names)]
    run(*BUILD[engine], *file, *timestamp, *told, "--build-context", f"pip-settings={settings}", *more, str(ROOT))
    return name


def push(engine: str, name: str, registry: str, platforms: Platforms) -> str:
    """Push an image to `registry` (HOST/PATH) and return its reference by digest there."""
    there = f"{registry.rstrip('/')}/{name.removesuffix(platforms.suffix)}{platforms.pushed_suffix}"
    if platforms.is_list:
        with tempfile.NamedTemporaryFile("r") as digest:
            run(engine, "manifest", "push", "--all", "--quiet", "--digestfile", digest.name, name, f"docker://{there}")
            return f"{there.rpartition(':')[0]}@{digest.read().strip()}"
    run(engine, "tag", name, there)
    if engine == "docker":
        run("docker", "push", "--quiet", there)
        return run("docker", "image", "inspect", "--format", "{{index .RepoDigests 0}}", there)
    with tempfile.NamedTemporaryFile("r") as digest:
        run(engine, "push", "--quiet", "--digestfile", digest.name, there)
        return f"{there.rpartition(':')[0]}@{digest.read().strip()}"


def look(engine: str, name: str) -> Image:
    """What the engine says of a local image, by its tag: containerd knows no digest of an image that no registry has.

    `kind load` and `ctr images import` keep the name that the engine saves an image under: podman and buildah put localhost/ before it.
    """
    if engine == "docker":
        return Image(name, _megabytes(json.loads(run("docker", "image", "inspect", name))[0]["Size"]))
    found = json.loads(run(engine, "inspect", "--type=image", name))
    size = found[0]["Size"] if engine == "podman" else sum(layer["size"] for layer in json.loads(found["Manifest"])["layers"])
    return Image(f"localhost/{name}", _megabytes(size))


def look_list(engine: str, name: str) -> Image:
    """What the engine says of a local manifest list; it has no digest of its own before it is pushed."""
    found = [one["platform"] for one in json.loads(run(engine, "manifest", "inspect", name))["manifests"]]
    return Image(f"localhost/{name}", ", ".join(sorted(f"{one['os']}/{one['architecture']}" for one in found)))


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"


def main() -> None:
    """Build, push where told, and write the references."""
    parser = argparse.ArgumentParser(
        description="Build Mynah's images and write their references to build/images.json.",
        epilog="Whatever else is given goes to the engine as it is, such as --build-arg TORCH_INDEX=URL or --network=host.",
        allow_abbrev=False,
    )
    parser.add_argument("--engine", choices=BUILD, help="podman, buildah or docker; the first that is here unless told")
    parser.add_argument("--target", choices=TARGETS, action="append", help="build this one alone; may be repeated")
    parser.add_argument("--tag", help="instead of the version")
    parser.add_argument(
        "--platform",
        type=parse_platforms,
        default=Platforms(()),
        metavar="OS/ARCH[,OS/ARCH]",
        help=f"{' or '.join(MACHINES)} instead of this machine's; both make manifest lists",
    )
    parser.add_argument("--push", metavar="REGISTRY", default="", help="push to HOST/PATH, after a login of the engine's own")
    parser.add_argument(
        "--out", type=Path, help="where the references go; build/images.json, or build/images-arm64.json and so on"
    )
    chosen, more = parser.parse_known_args()
    engine, platforms = chosen.engine or engine_here(), chosen.platform
    check_platforms(engine, platforms)
    out = chosen.out or ROOT / "build" / f"images{platforms.suffix}.json"
    references = json.loads(out.read_text("utf-8")) if out.exists() else {}
    with tempfile.TemporaryDirectory(prefix="mynah-pip-") as scratch:
        pip_settings(Path(scratch))
        for target in chosen.target or TARGETS:
            name = build(engine, target, chosen.tag or version(), platforms, Path(scratch), more)
            image = look_list(engine, name) if platforms.is_list else look(engine, name)
            references[target] = push(engine, name, chosen.push, platforms) if chosen.push else image.reference
            print(f"{references[target]}  {image.described}", flush=True)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(references, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
