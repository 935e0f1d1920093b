"""Prints bots, versions, differences, findings and erasures on stdout, with rich."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from components.forget.summary import Forgotten, describe
from mynah.core.progress import strip_control_chars
from mynah.maintenance.doctor import Finding
from mynah.registry.versions import Bot
from pipelines.cli.render import console


def show_bots(bots: Sequence[Bot], searched: str) -> None:
    """Print the bots as a table, or that there are none.

    Args:
        bots: the bots.
        searched: the folder or the server that was searched.
    """
    if not bots:
        print(f"No bots in {strip_control_chars(searched)} yet. Make one: mynah run --name my-bot --from my-export.zip")
        return
    table = Table()
    for heading in ("Bot", "Champion", "Verdict", "Held-out loss", "Date", "Versions"):
        table.add_column(heading)
    for bot in bots:
        record = bot_record(bot)
        loss = _number(record["held_out_loss"])
        champion = str(record["champion"] or "none")
        table.add_row(record["name"], champion, _plain(record["verdict"]), loss, record["date"], str(record["versions"]))
    console().print(table)


def bot_record(bot: Bot) -> dict[str, Any]:
    """Return a bot as a JSON object with its champion, or its newest version without a champion."""
    shown = bot.champion or (bot.versions[0] if bot.versions else None)
    return {
        "name": bot.name, "champion": bot.champion.version if bot.champion else None, "aliases": bot.aliases,
        "verdict": shown.tags.get("mynah.verdict", "") if shown else "", "held_out_loss": shown.held_out_loss if shown else None,
        "date": f"{shown.created_at:%Y-%m-%d %H:%M}" if shown else "", "versions": len(bot.versions),
    }  # fmt: skip


def show_history(record: dict[str, Any]) -> None:
    """Print a bot's versions and the decisions about them."""
    table = Table(title=f"{record['name']}: versions", title_justify="left")
    for heading in ("", "Alias", "Date", "Verdict", "Loss", "Model", "Data", "Consent", "Time", "Cost"):
        table.add_column(heading, no_wrap=heading in ("Model", "Consent"))
    for version in record["versions"]:
        cost, seconds = version["cost_usd"], version["seconds"]
        table.add_row(
            str(version["version"]), "\n".join(version["aliases"]), version["created_at"][:16].replace("T", " "),
            _plain(version["verdict"]), _number(version["held_out_loss"]), _plain(_model(version)),
            version["data_digest"][:8], _plain(version["consent"]),
            "" if seconds is None else f"{seconds:.0f} s", "" if cost is None else f"${cost:.2f}",
        )  # fmt: skip
    console().print(table)
    if not record["history"]:
        return
    decisions = Table(title="Decisions", title_justify="left")
    for heading in ("", "When", "Who", "What", "Champion"):
        decisions.add_column(heading)
    for event in record["history"]:
        decisions.add_row(
            str(event["number"]), event["at"][:19].replace("T", " "), _plain(event["who"]), _what(event),
            f"{event['was_champion'] or 'none'} → {event['champion'] or 'none'}",
        )  # fmt: skip
    console().print(decisions)


def _model(version: dict[str, Any]) -> str:
    """Return a version's base model, whether it is an adapter of it, and what it takes, a line each."""
    rank, size = version["adapter_rank"], version["bytes"]
    lines = [
        str(version["base_model"]),
        "" if rank is None else f"adapter, rank {rank:.0f}",
        "" if size is None else f"{size / 1e6:,.1f} MB",
    ]
    return "\n".join(line for line in lines if line)


def _what(event: dict[str, Any]) -> Text:
    text = f"{event['action']} {event['version']}"
    if event["forced"]:
        text += f", forced ({event['forced']}) against: {'; '.join(map(str, event['reasons']))}"
    elif event["reasons"]:
        text += f": {'; '.join(map(str, event['reasons']))}"
    return _plain(text)


def show_difference(record: dict[str, Any]) -> None:
    """Print the differences between two versions."""
    one, other = record["versions"]
    table = Table(title=f"{record['name']}: what differs", title_justify="left")
    for heading in ("", f"Version {one}", f"Version {other}", "Change"):
        table.add_column(heading)
    for part in ("metrics", "funnel", "params", "lineage"):
        for key, (first, second) in record[part].items():
            both = isinstance(first, int | float) and isinstance(second, int | float)
            change = (
                "not comparable"
                if key in record["not_comparable"] and part == "metrics"
                else _change(second - first)
                if both
                else ""
            )
            table.add_row(key, _plain(_value(first)), _plain(_value(second)), change)
    if table.row_count:
        console().print(table)
    else:
        print(f"Nothing that was recorded differs between version {one} and version {other} of {record['name']}.")
    _show_comparison(record)
    data = record["data"]
    if data["same"]:
        print("Both were trained on the same texts.")
    elif "in_both" in data:
        first, second = data["only_in"]
        print(f"Texts: {data['in_both']:,} in both, {first:,} only in version {one}, {second:,} only in version {other}.")


def _show_comparison(record: dict[str, Any]) -> None:
    """Print the losses of both versions on the same posts, or that there are none."""
    found, (one, other) = record["comparison"], record["versions"]
    if not found:
        return
    if found["problem"]:
        print(f"They cannot be compared on the same posts: {strip_control_chars(found['problem'])}.")
        return
    first, second = found["losses"]
    posts = f"{found['posts']:,} posts that neither was trained on" if found["posts"] else "held-out posts"
    print(
        f"On the same {posts}: version {one} has {first:.3f}, version {other} {second:.3f} {found['unit']} ({second - first:+.3f})."
    )


def _value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if value.is_integer() and abs(value) >= 1 else f"{value:.4g}"
    text = "" if value is None else str(value)
    return text[:12] if len(text) == 64 else text  # a digest


def _change(value: float) -> str:
    return f"{value:+,.0f}" if float(value).is_integer() else f"{value:+.4f}"


def show_findings(findings: Sequence[Finding]) -> None:
    """Print findings, one per line, with the fix below a failed one."""
    for finding in findings:
        problem = "" if finding.is_well else f": {strip_control_chars(finding.problem)}"
        print(f"{'ok  ' if finding.is_well else 'FAIL'}  {strip_control_chars(finding.about)}{problem}")
        if finding.fix and not finding.is_well:
            print(f"      {strip_control_chars(finding.fix)}")


def show_forgotten(done: Forgotten, workdir: Path | None) -> None:
    """Print what was erased by kind, or what would be erased in words.

    Args:
        done: What was erased, or would be.
        workdir: The work folder.
    """
    counts: dict[str, int] = {}
    for item in done.items:
        counts[item.kind] = counts.get(item.kind, 0) + 1
    summary = ", ".join(f"{count:,} {kind}{'' if count == 1 else 's'}" for kind, count in counts.items()) or "nothing was there"
    if done.receipt:
        print(f"{done.subject} is forgotten: {summary}")
        print(f"Receipt {done.receipt}")
    else:
        show_plan(done, workdir, f"Would erase of {done.subject}:")
        if done.items:
            print("--json lists each file and row.")


def show_plan(plan: Forgotten, workdir: Path | None, heading: str, *, on_stderr: bool = False) -> None:
    """Print in words what would be erased.

    Args:
        plan: What would be erased.
        workdir: The work folder.
        heading: The line above it.
        on_stderr: Whether to print on stderr, where a question stands.
    """
    lines = [heading, *(f"  {line}" for line in describe(plan, workdir) or ["nothing is left of it"])]
    if plan.blends:
        lines.append(f"Blends with other authors: {', '.join(plan.blends)} (--blends remove or retrain)")
    print("\n".join(map(strip_control_chars, lines)), file=sys.stderr if on_stderr else sys.stdout)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _plain(text: str) -> Text:
    """Return untrusted text, such as tags that anybody can write, without control characters."""
    return Text(strip_control_chars(text))
