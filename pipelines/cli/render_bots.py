"""Bots, versions, differences, findings and erasures for people: tables by rich on stdout."""

from collections.abc import Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from components.doctor import Finding
from components.events import visible
from components.forget import Forgotten
from components.registry import Bot
from pipelines.show import console


def show_bots(bots: Sequence[Bot]) -> None:
    """The bots as a table."""
    if not bots:
        print("No bots yet. Make one: mynah run --name my-bot --from my-export.zip")
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
    """A bot as a JSON object: of its champion, or of its newest version where it has none."""
    shown = bot.champion or (bot.versions[0] if bot.versions else None)
    return {
        "name": bot.name, "champion": bot.champion.version if bot.champion else None, "aliases": bot.aliases,
        "verdict": shown.tags.get("mynah.verdict", "") if shown else "", "held_out_loss": shown.held_out_loss if shown else None,
        "date": f"{shown.created_at:%Y-%m-%d %H:%M}" if shown else "", "versions": len(bot.versions),
    }  # fmt: skip


def show_history(record: dict[str, Any]) -> None:
    """A bot's versions and what was decided about them."""
    table = Table(title=f"{record['name']}: versions", title_justify="left")
    for heading in ("", "Alias", "Date", "Verdict", "Loss", "Data", "Consent", "Time", "Cost"):
        table.add_column(heading)
    for version in record["versions"]:
        cost, seconds = version["cost_usd"], version["seconds"]
        table.add_row(
            str(version["version"]), "\n".join(version["aliases"]), version["created_at"][:16].replace("T", " "),
            _plain(version["verdict"]), _number(version["held_out_loss"]), version["data_digest"][:8], _plain(version["consent"]),
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


def _what(event: dict[str, Any]) -> Text:
    said = f"{event['action']} {event['version']}"
    if event["forced"]:
        said += f", forced ({event['forced']}) against: {'; '.join(map(str, event['reasons']))}"
    elif event["reasons"]:
        said += f": {'; '.join(map(str, event['reasons']))}"
    return _plain(said)


def show_difference(record: dict[str, Any]) -> None:
    """Two versions side by side: what differs."""
    one, other = record["versions"]
    table = Table(title=f"{record['name']}: what differs", title_justify="left")
    for heading in ("", f"Version {one}", f"Version {other}", "Change"):
        table.add_column(heading)
    for part in ("metrics", "funnel", "params", "lineage"):
        for key, (first, second) in record[part].items():
            both = isinstance(first, int | float) and isinstance(second, int | float)
            table.add_row(key, _plain(_value(first)), _plain(_value(second)), _change(second - first) if both else "")
    if table.row_count:
        console().print(table)
    else:
        print(f"Nothing that was recorded differs between version {one} and version {other} of {record['name']}.")
    data = record["data"]
    if data["same"]:
        print("Both were trained on the same texts.")
    elif "in_both" in data:
        first, second = data["only_in"]
        print(f"Texts: {data['in_both']:,} in both, {first:,} only in version {one}, {second:,} only in version {other}.")


def _value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if value.is_integer() and abs(value) >= 1 else f"{value:.4g}"
    text = "" if value is None else str(value)
    return text[:12] if len(text) == 64 else text  # a digest


def _change(value: float) -> str:
    return f"{value:+,.0f}" if float(value).is_integer() else f"{value:+.4f}"


def show_findings(findings: Sequence[Finding]) -> None:
    """What the doctor saw, a line each, with the fix below what is not well."""
    for finding in findings:
        print(
            f"{'ok  ' if finding.is_well else 'FAIL'}  {visible(finding.about)}{'' if finding.is_well else ': ' + visible(finding.problem)}"
        )
        if finding.fix and not finding.is_well:
            print(f"      {visible(finding.fix)}")


def show_forgotten(done: Forgotten) -> None:
    """What was erased, or would be, by kind."""
    counts: dict[str, int] = {}
    for item in done.items:
        counts[item.kind] = counts.get(item.kind, 0) + 1
    told = ", ".join(f"{count:,} {kind}{'' if count == 1 else 's'}" for kind, count in counts.items()) or "nothing was there"
    if done.receipt:
        print(f"{done.subject} is forgotten: {told}")
        print(f"Receipt {done.receipt}")
    else:
        print(f"Would erase of {done.subject}: {told if done.items else 'nothing, for there is nothing'}")
        for item in done.items:
            print(f"  {item.kind:<8} {visible(item.address)}")
        if done.blends:
            print(f"Blends with other authors: {', '.join(done.blends)} (--blends remove or retrain)")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _plain(text: str) -> Text:
    """Foreign text: tags that anybody can write."""
    return Text(visible(text))
