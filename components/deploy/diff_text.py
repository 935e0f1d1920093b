"""Describe a deployment's changes and result."""

import difflib

from components.deploy.address import answering
from components.deploy.server_side_apply import as_yaml
from components.deploy.step import Deployed


def difference(done: Deployed) -> str:
    """Return how the InferenceService would change, as a unified diff of the fields that Mynah sets."""
    before, after = as_yaml(done.live), as_yaml(done.then)
    name = f"{done.namespace}/{done.name}"
    lines = difflib.unified_diff(before.splitlines(keepends=True), after.splitlines(keepends=True), f"{name} (live)", name)
    return "".join(lines).rstrip()


def reachable_url(done: Deployed) -> str:
    """Return the address that KServe reports if the bot answers there, else the Service's, within the cluster."""
    return answering(done.url) or done.service_url


def describe_upgrade(done: Deployed) -> str:
    """Describe what an upgrade did to a bot in a line; with the diff where it only would."""
    what = f"{done.namespace}/{done.name}"
    return {
        "unchanged": f"{what} version {done.version} needs no upgrade",
        "would deploy": f"{what} version {done.version} would be upgraded\n{difference(done)}",
    }.get(done.action, f"{what} version {done.version} is upgraded")


def describe(done: Deployed, url: str) -> str:
    """Describe the result in a few lines.

    Args:
        done: The result.
        url: Where the bot is reached.
    """
    what = f"{done.namespace}/{done.name}"
    instead = f", instead of {done.former}" if done.former not in (0, done.version) else ""
    lines = {
        "unchanged": [f"{what} already serves version {done.version}; nothing to do"],
        "deployed": [f"{what} serves version {done.version}{instead}"],
        "promoted": [f"{what} serves version {done.version} to all{instead}: its canary stayed within the limits"],
        "canary": [
            f"{what} serves version {done.version} as a canary beside {done.former}",
            f"To promote it: mynah deploy {done.name} --version {done.version}; to revert it: mynah deploy {done.name} --version {done.former}",
        ],
    }[done.action]
    if done.answer:
        lines.append(f"Its response to a test prompt: {done.answer.strip()}")
    if url:
        lines.append(f"URL  {url}")
    return "\n".join(lines)
