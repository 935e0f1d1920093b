"""Name the exports that Mynah does not read, with the way that works: by the files that they have."""

import re
from dataclasses import dataclass
from pathlib import Path

from components.fetch.archives.zip_folder import Archive
from mynah.core.errors import InputError

TABLE = "Write its texts as a table, with a column `text`, and maybe `created_at`: a .csv, or a .jsonl with an object a line."
AS_JSON = "Request the export again in the format JSON, which Mynah reads; this one is HTML."
CSV_COLUMN = "Unpack it, and give its {file} with --text-column {column}."


@dataclass(frozen=True, slots=True)
class ForeignExport:
    """An export, by a pattern of the names of its files."""

    name: str
    pattern: re.Pattern[str]
    fix: str


def _by(name: str, pattern: str, fix: str = TABLE) -> ForeignExport:
    return ForeignExport(name, re.compile(rf"(?:[^/]+/){{0,8}}(?:{pattern})", re.IGNORECASE), fix)


# The first one that matches counts.
FOREIGN_EXPORTS = (
    _by("an export of Telegram", r"messages\d*\.html", "Export the chat again in Telegram Desktop with the format JSON, which Mynah reads."),
    _by("an export of Threads or Instagram", r"(?:threads_and_replies|posts_\d+|post_comments(?:_\d+)?|reels_comments)\.html", AS_JSON),
    _by(
        "an export of Facebook",
        r"(?:your_facebook_activity|facebook_activity|comments_and_reactions|facebook-[^/]+)/.*|your_posts[^/]*\.(?:json|html)",
        f"Its posts are under data, post in posts/your_posts….json. {TABLE}",
    ),
    _by("an export of LinkedIn", r"Shares\.csv", CSV_COLUMN.format(file="Shares.csv", column="ShareCommentary")),
    _by("an export of LinkedIn", r"Rich_Media\.csv|Connections\.csv|Comments_\d+\.csv", TABLE),
    _by("an export of Tumblr", r"posts/html/\d+\.html|posts_index\.html|payload-\d+\.json", f"Its posts are HTML. {TABLE}"),
    _by("an export of TikTok", r"user_data(?:_tiktok)?\.json|TikTok/.*"),
    _by("an export of Snapchat", r"json/(?:chat_history|snap_history|memories_history)\.json"),
    _by("an export of Google", r"Takeout/.*|archive_browser\.html"),
    _by("an export of Slack", r"integration_logs\.json"),
    _by("an export of Medium", r"posts/(?:\d{4}-|draft_)[^/]*\.html"),
    _by("an export of Substack", r"posts/\d+\.[^/]*\.(?:html|delivers\.csv|opens\.csv)"),
    _by("an export of Signal", r"signal[^/]*\.backup"),
    _by("an export of WordPress", r"[^/]*wordpress[^/]*\.xml|[^/]*WordPress[^/]*\.xml"),
    _by("an export of Misskey", r"notes-\d[^/]*\.json", f"It has one list of notes. {TABLE}"),
    _by("a list of accounts that Mastodon exports", r"(?:following_accounts|blocked_accounts|muted_accounts|bookmarks|lists)\.csv",
        "It has no posts. Request your archive in Preferences, Import and export."),
    _by("an export of Instagram without posts", r"(?:your_instagram_activity|connections/followers_and_following)/.*",
        "Request it again with posts, comments and Threads, in the format JSON."),
)  # fmt: skip
TEXTS = re.compile(r"(?:[^/]+/){0,8}[^/]+\.(?:txt|md|markdown|rtf|docx?|odt|html?)", re.IGNORECASE)


def refuse_foreign_export(archive: Archive, *, with_texts: bool = True) -> None:
    """Raise InputError where an archive is an export that Mynah does not read, or holds texts (`with_texts`); it has the way that works."""
    for export in FOREIGN_EXPORTS:
        member = next((name for name in archive.names if export.pattern.fullmatch(name)), "")
        if member:
            raise InputError(f"{archive.label}: is {export.name}, which Mynah does not read", export.fix)
    if with_texts and any(TEXTS.fullmatch(name) for name in archive.names):
        folder = f"{archive.label}: has texts, one a file, which Mynah does not read"
        raise InputError(folder, f"{TABLE} Of a chat of WhatsApp give the .txt or the .zip that the phone sent.")


def unknown_file(path: Path, label: str, start: str) -> InputError | None:
    """Return the error for a file of text or JSON that no reader recognizes; None for other files.

    Args:
        path: The file.
        label: Its name in messages.
        start: How its text begins.
    """
    suffix = path.suffix.lower()
    if suffix == ".json" or (suffix != ".zip" and re.match(r"\s{0,100}[\[{]", start)):
        return InputError(f"{label}: is JSON of a form that Mynah does not read", TABLE)
    if suffix in (".txt", ".md", ".markdown", ".html", ".htm", ".xml", ".rtf"):
        problem = f"{label}: is a text of a form that Mynah does not read"
        return InputError(problem, f"{TABLE} A chat of WhatsApp is read as the phone exports it.")
    return None
