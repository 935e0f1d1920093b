"""Draw the pictures of docs/architecture.md: `python -m scripts.architecture`.

The packages and their layers are read from import-linter's contracts in pyproject.toml, so that the picture shows what `make lint` enforces.
Every picture has a panel of its own colour behind it, so that it is readable on light and dark pages.
"""

import tomllib
from html import escape
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PICTURES = ROOT / "docs" / "pictures"
FONT = "font-family=\"'DejaVu Sans', Verdana, 'Segoe UI', Arial, sans-serif\""
INK, QUIET, PANEL, LINE = "#1f2933", "#52606d", "#f7f9fb", "#9aa5b1"
COLOURS = {"pipelines": "#dbe7fb", "components": "#e3f2df", "serving": "#fde8d7", "mynah": "#ece3f7"}
LETTER = 7.4  # the approximate width in pixels of a letter of 12 px

SUMMARIES = {
    "pipelines": "assembles the steps and starts them",
    "components": "a folder per step of the pipeline: component.py (the Kubeflow shim) and step.py",
    "serving": "the inference server",
    "mynah": "the library that all of them share",
}
PURPOSES = {
    "cli": "the commands of `mynah`",
    "kubeflow": "submit, follow and list runs on a cluster",
    "local": "the same steps on this machine, as processes or containers",
    "compile": "the pipeline as YAML",
    "definitions": "bot, sweep and fleet: a line per step",
    "maintenance": "doctor, prune, and the erasers of forget",
    "hub": "a Hugging Face hub's client",
    "drawing": "text, emoji and charts as PNG",
    "decoding": "tokens by the fastest kernels of the processor",
    "training": "recipes; states that a training run resumes from",
    "models": "checkpoints, sampling, scoring, canaries, verdicts",
    "registry": "versions, aliases, locks, history, lineage",
    "tracking": "MLflow runs, the outbox, costs, energy",
    "data": "posts, datasets, authors, personal data",
    "kubernetes": "the cluster's client, leases",
    "storage": "files in folders, in S3, behind MLflow's proxy",
    "mlflow_client": "MLflow's client and addresses",
    "core": "errors, files, names, progress, the machine",
}


def layers_of(name: str) -> list[list[str]]:
    """Return the layers of a package from the top down, as lists of modules, from the contract in pyproject.toml."""
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    contracts = project["tool"]["importlinter"]["contracts"]
    [contract_of_package] = [contract for contract in contracts if contract.get("containers") == [name]]
    return [[module.strip() for module in layer.split("|")] for layer in contract_of_package["layers"]]


def text(x: float, y: float, words: str, size: int = 12, colour: str = INK, weight: str = "normal", anchor: str = "start") -> str:
    """Return the SVG of a line of text.

    Args:
        x: Where its baseline begins, in pixels.
        y: The same.
        words: The text, not escaped.
        size: The font size in pixels.
        colour: Its colour.
        weight: SVG's font-weight.
        anchor: SVG's text-anchor.

    Returns:
        The element.
    """
    return f'<text x="{x:g}" y="{y:g}" font-size="{size}" fill="{colour}" font-weight="{weight}" text-anchor="{anchor}">{escape(words)}</text>'


def box(x: float, y: float, width: float, height: float, fill: str, dashed: bool = False) -> str:
    """Return the SVG of a rectangle with round corners.

    Args:
        x: Its left edge, in pixels.
        y: Its upper edge.
        width: Its width.
        height: Its height.
        fill: Its colour.
        dashed: Whether its border is dashed.

    Returns:
        The element.
    """
    dash = ' stroke-dasharray="5 4"' if dashed else ""
    return f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="7" fill="{fill}" stroke="{LINE}"{dash}/>'


def arrow(*points: tuple[float, float], dashed: bool = False) -> str:
    """Return the SVG of a line through points (x, y) in pixels, with an arrow head at the last one."""
    dash = ' stroke-dasharray="5 4"' if dashed else ""
    line = " ".join(f"{x:g},{y:g}" for x, y in points)
    return f'<polyline points="{line}" fill="none" stroke="{QUIET}" stroke-width="1.6"{dash} marker-end="url(#head)"/>'


def picture(width: int, height: int, title: str, parts: list[str]) -> str:
    """Return an SVG document.

    Args:
        width: Its width in pixels.
        height: Its height.
        title: Its title.
        parts: The SVG of its content.

    Returns:
        The document.
    """
    head = '<marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" {FONT} role="img">',
            f"<title>{escape(title)}</title>",
            f'<defs>{head}<path d="M0,0 L8,4 L0,8 z" fill="{QUIET}"/></marker></defs>',
            f'<rect width="{width}" height="{height}" rx="12" fill="{PANEL}" stroke="{LINE}"/>',
            *parts,
            "</svg>\n",
        ]
    )


def package_box(name: str, x: float, y: float, width: float, purposes: bool) -> tuple[list[str], float]:
    """Draw a package with its layers from the top down.

    Args:
        name: The package.
        x: Its left edge, in pixels.
        y: Its upper edge.
        width: Its width.
        purposes: Whether to show the purpose of the modules beside them.

    Returns:
        The SVG of its parts, and its height in pixels.
    """
    parts, layer_top = [], y + 52.0
    for layer in layers_of(name):
        left, row = x + 14, layer_top
        parts_of_layer: list[str] = []
        for module in layer:
            chip = len(module) * LETTER + 20
            if left + chip > x + width - 20 and left > x + 14:
                left, row = x + 14, row + 30
            parts_of_layer += [box(left, row, chip, 24, "#ffffff"), text(left + 10, row + 16, module)]
            left += chip + 8
        if purposes:
            description = "; ".join(PURPOSES[module] for module in layer)
            parts_of_layer.append(text(max(left + 6, x + 330), row + 16, description, 11, QUIET))
        parts += [box(x + 8, layer_top - 4, width - 16, row - layer_top + 32, "none", dashed=True), *parts_of_layer]
        layer_top = row + 38
    height = layer_top - y + 2
    heading = [text(x + 14, y + 22, f"{name}/", 15, weight="bold"), text(x + 14, y + 39, SUMMARIES[name], 11, QUIET)]
    return [box(x, y, width, height, COLOURS[name]), *heading, *parts], height


def layers_picture() -> str:
    """Draw the four packages and their layers; arrows show who may import whom."""
    top, pipelines = package_box("pipelines", 20, 50, 1160, purposes=True)
    middle = 50 + pipelines + 34
    left, components = package_box("components", 20, middle, 640, purposes=False)
    right, serving = package_box("serving", 690, middle, 490, purposes=False)
    note = [
        text(34, middle + components + 26, "Only the steps of the upper rows use another step's code:", 12, QUIET),
        text(
            34,
            middle + components + 44,
            "forget → fetch → filter, publish → card, register → card, promote, deploy, sweep → finetune.",
            12,
            QUIET,
        ),
        text(34, middle + components + 72, "Steps do not import the server, and the server imports no step.", 12, QUIET),
    ]
    bottom = middle + max(components, serving) + 34
    library, height = package_box("mynah", 20, bottom, 1160, purposes=True)
    parts = [
        text(20, 32, "Who may import whom: from the top down, and never back up (make lint)", 16, weight="bold"),
        *top, *left, *right, *note, *library,
        arrow((340, middle - 34), (340, middle - 3)), arrow((935, middle - 34), (935, middle - 3)),
        arrow((600, middle + components + 2), (600, bottom - 3)), arrow((935, middle + serving), (935, bottom - 3)),
    ]  # fmt: skip
    return picture(1200, round(bottom + height + 20), "The packages of Mynah and their layers", parts)


STEPS = {  # the steps of the pipeline, with the folder that each writes and what is in it
    "fetch": ("raw/", "posts.jsonl", "sources.json"),
    "filter": ("data/", "train.jsonl", "held_out.jsonl", "funnel.json"),
    "finetune": ("model/", "model.safetensors", "tokenizer.json", "training.json", "verbatim.bloom"),
    "evaluate": ("report/", "metrics.json", "verdict.json", "samples.json", "report.html"),
    "card": ("card/", "README.md", "predictions.png", "predictions.html"),
    "register": ("a version", "checkpoint + card", "manifest.json", "tags"),
    "promote": ("an alias", "champion", "previous", "history"),
}


def stores() -> list[str]:
    """Draw what MLflow stores."""
    return [
        box(20, 300, 640, 110, COLOURS["mynah"]),
        text(34, 324, "MLflow: runs and artifacts", 13, weight="bold"),
        text(
            34, 346, "A run per pipeline run, nested runs per step: parameters, metrics, curves, files, cost, energy.", 12, QUIET
        ),
        text(34, 366, "On a laptop SQLite and folders in the work folder; with servers PostgreSQL and S3.", 12, QUIET),
        text(34, 386, "While the server is away, records wait in an outbox.", 12, QUIET),
        arrow((420, 254), (420, 297), dashed=True),
        text(430, 281, "every step records what it did", 11, QUIET),
        box(700, 300, 480, 110, COLOURS["mynah"]),
        text(714, 324, "MLflow: registry", 13, weight="bold"),
        text(714, 346, "Versions of each bot; the alias champion says which one serves.", 12, QUIET),
        text(714, 366, "Promotions hold a lock, and are written to a history.", 12, QUIET),
        text(714, 386, "Refused without the gate's verdict, or behind the champion.", 12, QUIET),
        arrow((974, 242), (974, 297)),
        arrow((1116, 242), (1116, 297)),
    ]


CALLERS = ("POST /openai/v1/completions", "POST /v2/models/wren/infer", "a browser at /")
SERVER = {  # the parts of the server that a request passes, from left to right
    "protocols, auth": ("OpenAI completions", "KServe v1, v2, gRPC", "playground"),
    "models": ("follows the aliases", "loads on first use", "evicts within memory"),
    "engine": ("batches all requests,", "a token at a time"),
    "mynah/decoding": ("kernels, KV cache,", "sampler, and a filter", "of verbatim posts"),
}


def server() -> list[str]:
    """Draw the path of a request through the server."""
    parts = [
        box(400, 456, 780, 150, COLOURS["serving"]),
        text(
            414,
            480,
            "serving/: mynah serve with every champion, or mynah deploy: an InferenceService of KServe per bot",
            13,
            weight="bold",
        ),
        arrow((760, 410), (760, 453)),
        text(772, 438, "follows promotions without a restart", 11, QUIET),
        box(20, 496, 240, 92, "#ffffff"),
        text(34, 518, "People and programs", 13, weight="bold"),
        *(text(34, 540 + at * 18, line, 11, QUIET) for at, line in enumerate(CALLERS)),
        arrow((260, 530), (417, 530)),
        text(280, 522, "prompt", 11, QUIET),
        arrow((418, 556), (263, 556)),
        text(280, 573, "text, token by token", 11, QUIET),
    ]
    for at, (name, lines) in enumerate(SERVER.items()):
        x = 420 + at * 190
        parts += [
            box(x, 496, 160, 92, COLOURS["mynah"] if "/" in name else "#ffffff"),
            text(x + 12, 516, name, 12, weight="bold"),
        ]
        parts += [text(x + 12, 536 + line * 18, words, 11, QUIET) for line, words in enumerate(lines)]
        parts += [arrow((x - 30, 542), (x - 1, 542))] if at else []
    return parts


def pipeline_picture() -> str:
    """Draw the path of a post from a source to an answer."""
    parts = [text(20, 32, "From a person's posts to a bot's answers", 16, weight="bold")]
    sources = ["X export or API", "Bluesky", "Mastodon", "CSV, JSONL, Parquet", "S3"]
    parts += [box(20, 70, 150, 150, "#ffffff"), text(32, 92, "Sources", 13, weight="bold")]
    parts += [text(32, 114 + at * 20, source, 12, QUIET) for at, source in enumerate(sources)]
    wide, gap, left = 128, 14, 200
    parts.append(box(left - 12, 50, 7 * (wide + gap) + 6, 204, COLOURS["components"]))
    parts.append(
        text(left, 68, "components/: the pipeline, on a laptop (mynah run) or on Kubeflow Pipelines (mynah submit)", 12, QUIET)
    )
    for at, (step, (folder, *files)) in enumerate(STEPS.items()):
        x = left + at * (wide + gap)
        parts += [box(x, 80, wide, 34, "#ffffff"), text(x + wide / 2, 102, step, 13, weight="bold", anchor="middle")]
        parts.append(arrow((x - gap, 97), (x - 1, 97)) if at else arrow((170, 97), (x - 1, 97)))
        parts += [box(x, 126, wide, 116, "#ffffff", dashed=True), text(x + 10, 145, folder, 12, weight="bold")]
        parts += [text(x + 10, 165 + line * 18, file, 11, QUIET) for line, file in enumerate(files)]
    parts += stores()
    parts += server()
    return picture(1200, 630, "From a person's posts to a bot's answers", parts)


DRAWINGS = {"layers.svg": layers_picture, "pipeline.svg": pipeline_picture}


def main() -> None:
    """Write the pictures."""
    for name, draw in DRAWINGS.items():
        (PICTURES / name).write_text(draw(), encoding="utf-8")


if __name__ == "__main__":
    main()
