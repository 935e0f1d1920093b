"""What a deployment came to, in words."""

import difflib

from components.deploy import Deployed
from components.deploy.server_side import shown


def difference(done: Deployed) -> str:
    """How the InferenceService would change, as a unified diff of what Mynah has a say in."""
    before, after = shown(done.live), shown(done.then)
    name = f"{done.namespace}/{done.name}"
    lines = difflib.unified_diff(before.splitlines(keepends=True), after.splitlines(keepends=True), f"{name} (live)", name)
    return "".join(lines).rstrip()


def told(done: Deployed) -> str:
    """A line or three for a person."""
    what = f"{done.namespace}/{done.name}"
    instead = f", instead of {done.former}" if done.former not in (0, done.version) else ""
    lines = {
        "unchanged": [f"{what} serves version {done.version} already; nothing to do"],
        "deployed": [f"{what} serves version {done.version}{instead}"],
        "promoted": [f"{what} serves version {done.version} to all{instead}: its canary kept to the plan"],
        "canary": [
            f"{what} serves version {done.version} as a canary beside {done.former}",
            f"Give it all: mynah deploy {done.name} --version {done.version}; take it back: mynah deploy {done.name} --version {done.former}",
        ],
    }[done.action]
    if done.said:
        lines.append(f"It was asked, and wrote: {done.said.strip()}")
    if done.url:
        lines.append(f"URL  {done.url}")
    return "\n".join(lines)
