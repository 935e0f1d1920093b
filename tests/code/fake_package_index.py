"""Package indexes over real HTTP, with tiny wheels: what pip sees of PyPI, of PyTorch's index and of a mirror.

An index is a folder of the server: `/NAME/PROJECT/` is its page of links (PEP 503), with the metadata as files of their own (PEP 658) or
without. A wheel may claim hundreds of megabytes, which then come slowly, as a download does.
"""

import io
import time
import zipfile
from collections import defaultdict
from dataclasses import dataclass
from urllib.parse import quote, unquote

from tests.http_fake import Answer, HttpFake

HUGE = 900_000_000  # bytes
PIECE = 1 << 20  # bytes every 50 ms


@dataclass(frozen=True)
class Wheel:
    """A wheel of `project`, which requires `requires`; `huge` wheels cannot be downloaded in a test's time."""

    project: str
    version: str
    requires: tuple[str, ...] = ()
    huge: bool = False

    @property
    def name(self):
        return f"{self.project}-{self.version}-py3-none-any.whl"

    @property
    def metadata(self):
        lines = ["Metadata-Version: 2.1", f"Name: {self.project}", f"Version: {self.version}"]
        return "\n".join([*lines, *(f"Requires-Dist: {each}" for each in self.requires), ""])

    @property
    def content(self):
        folder, made = f"{self.project}-{self.version}.dist-info", io.BytesIO()
        files = {
            f"{self.project}/__init__.py": f"version = {self.version!r}\n",
            f"{folder}/METADATA": self.metadata,
            f"{folder}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        }
        files[f"{folder}/RECORD"] = "".join(f"{name},,\n" for name in (*files, f"{folder}/RECORD"))
        with zipfile.ZipFile(made, "w") as wheel:
            for name, text in files.items():
                wheel.writestr(name, text)
        return made.getvalue()


class FakePackageIndex(HttpFake):
    """The indexes of one server, and what it was asked for; a context manager."""

    bytes_type = "text/html"

    def __init__(self, **indexes: list[Wheel]) -> None:
        self.indexes = indexes
        self.separate_metadata = True
        self.sent: dict[str, int] = defaultdict(int)  # bytes of each wheel
        super().__init__()

    def index_url(self, index: str) -> str:
        return f"{self.url}/{index}"

    @property
    def targets(self) -> list[str]:
        """What was asked for; a proxy is asked for whole addresses."""
        return [unquote(request.target) for request in self.requests]

    def page(self, index, project):
        attribute = ' data-dist-info-metadata="true" data-core-metadata="true"' if self.separate_metadata else ""
        links = [f'<a href="{quote(wheel.name)}"{attribute}>{wheel.name}</a>' for wheel in self.of(index, project)]
        return f"<!DOCTYPE html><html><body>{'<br>'.join(links)}</body></html>".encode()

    def of(self, index, project):
        return [wheel for wheel in self.indexes.get(index, ()) if wheel.project == project]

    def handle(self, handler):
        wheel = self._wheel(handler.as_request())
        if not (wheel and wheel.huge):
            super().handle(handler)
            return
        self.requests.append(handler.as_request())
        handler.send_response(200)
        handler.send_header("Content-Length", str(HUGE))
        handler.end_headers()
        while self.sent[wheel.name] < HUGE:  # until the client leaves
            handler.wfile.write(bytes(PIECE))
            self.sent[wheel.name] += PIECE
            time.sleep(0.05)

    def _parts(self, request):
        """Index, project and name of a file."""
        return (*unquote(request.path).strip("/").split("/"), "", "")[:3]

    def _wheel(self, request):
        index, project, name = self._parts(request)
        return next((each for each in self.of(index, project) if name == each.name), None)

    def respond(self, request):
        index, project, name = self._parts(request)
        if not name and self.of(index, project):
            return Answer(200, self.page(index, project))
        if wheel := self._wheel(request):
            self.sent[name] += len(wheel.content)
            return Answer(200, wheel.content, {"Content-Type": "application/octet-stream"})
        described = next((each for each in self.of(index, project) if name == f"{each.name}.metadata"), None)
        if described and self.separate_metadata:
            return Answer(200, described.metadata)
        return Answer(404)
