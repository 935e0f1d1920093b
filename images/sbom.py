"""Write what an image is made of as a software bill of materials: `python sbom.py IMAGE`, inside it.

CycloneDX 1.6 in JSON, https://cyclonedx.org/docs/1.6/json/: Python's distributions and Debian's packages. It holds no time and
no random number: the same image gets the same bytes.
"""

import json
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any
from urllib.parse import quote

BILL = Path("/usr/share/mynah/sbom.json")
DPKG_STATUS = Path("/var/lib/dpkg/status")
OS_RELEASE = Path("/etc/os-release")


def python_component(found: Distribution) -> dict[str, Any]:
    """A distribution that this Python imports; its licence as its author wrote it."""
    name, version = found.metadata["Name"], found.version
    about: Any = found.metadata  # an email.message.Message, which has get
    licence, written = about.get("License-Expression", ""), about.get("License", "")
    component = _component(name, version, f"pkg:pypi/{name.lower().replace('_', '-')}@{quote(version)}")
    if licence:
        component["licenses"] = [{"expression": licence}]
    elif written and "\n" not in written:  # some put the whole text there
        component["licenses"] = [{"license": {"name": written}}]
    return component


def debian_components(status: str, release: str) -> Iterator[dict[str, Any]]:
    """The installed packages in dpkg's `status` file, on Debian's `release`."""
    for paragraph in status.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in paragraph.splitlines() if ": " in line and line[0] != " ")
        if fields.get("Status") == "install ok installed":
            name, version, architecture = fields["Package"], fields["Version"], fields["Architecture"]
            purl = f"pkg:deb/debian/{quote(name)}@{quote(version)}?arch={architecture}&distro={release}"
            yield _component(name, version, purl)


def _component(name: str, version: str, purl: str) -> dict[str, Any]:
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}


def _release() -> str:
    fields = dict(line.split("=", 1) for line in OS_RELEASE.read_text("utf-8").splitlines() if "=" in line)
    return f"{fields['ID']}-{fields['VERSION_ID']}".replace('"', "")


def bill(image: str) -> dict[str, Any]:
    """The bill of this Python and this Debian, for the image called `image`."""
    found_first = reversed(list(distributions()))  # one on the path hides another that comes later
    python = {found.metadata["Name"].lower(): found for found in found_first}
    components = [*map(python_component, python.values()), *debian_components(DPKG_STATUS.read_text("utf-8"), _release())]
    about = {"type": "container", "bom-ref": image, "name": image, "version": python["mynah"].version}
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": about},
        "components": sorted(components, key=lambda component: str(component["purl"])),
    }


if __name__ == "__main__":
    BILL.parent.mkdir(parents=True, exist_ok=True)
    BILL.write_text(json.dumps(bill(sys.argv[1]), indent=1) + "\n", "utf-8")
