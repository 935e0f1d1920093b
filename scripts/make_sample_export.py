"""Create the bundled sample: an X export of a fictitious account, whose posts quote public-domain plays.

    python -m scripts.make_sample_export --text FOLDER --out components/fetch/sample/groundling.zip

FOLDER contains shakespeare.txt. The same text gives the same bytes (fixed seed, fixed times). The export has every shape of post
that a real one has: plain ones, reposts, replies, quotes, links, media, short ones, duplicates, a text too long for its tweet.
"""

import argparse
import html
import json
import random
import re
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from scripts.public_domain import plays
from scripts.wren import picture

HANDLE, NAME, ACCOUNT = "wren_groundling", "Wren Groundling", "1366000000000000001"
BIO = "A made-up account for trying software out. Every post quotes one of three plays in the public domain."
AVATAR = "https://pbs.twimg.com/profile_images/1366000000000000002/wren.jpg"
OTHERS = ("madeup_quill", "madeup_tapster", "madeup_orange", "madeup_prompter", "madeup_balcony")  # fictitious handles
COUNTS = {  # posts of every shape
    "plain": 1150, "hashtag": 25, "emoji": 25, "escaped": 15, "reply": 60, "quote": 25, "link": 30, "media": 17, "long": 3,
    "repost": 130, "short": 80, "duplicate": 60,
}  # fmt: skip
SHORT = ("Ay!", "No more.", "Marry, sir.", "@{other} ok", "@{other} Ay, sir.", "#stagecraft", "{link}", "Alas!", "So, so.")
EMOJI = ("🎭", "🗡️", "🌙", "🥀", "👻", "⚓")
HASHTAGS = ("#stagecraft", "#pitside", "#groundlings")
FIRST_POST = datetime(2021, 3, 1, 9, 0, tzinfo=UTC)
TWITTER_EPOCH = 1288834974657  # milliseconds; an id is the milliseconds since then, shifted by 22 bits
PACKED_AT = (2024, 6, 1, 12, 0, 0)
FIRST_PART = 1000  # posts in tweets.js; the rest is in tweets-part1.js
CUT_AT = 255  # characters of a long text that are in its tweet


# A demonstration must not offend: sentences of the plays with these words are excluded.
OFFENSIVE = re.compile(
    r"\b(jew|hebrew|moor|turk|black|negro|gipsy|barbar|savage|infidel|heathen|slave|whore|strumpet|bawd|wench|harlot|cuckold|bastard|"
    r"minion|maidenhead|virgin|bed\b|lewd|lecher|lascivious|prick|devil|damn|rape|thick-?lips|ram\b|ewe\b|hang|drown|suicide|kill|stab|poison)",
    re.IGNORECASE,
)


class PostFactory:
    """Creates posts of the requested shapes; no two plain posts quote the same sentence."""

    def __init__(self, sentences: list[str], rng: random.Random) -> None:
        self.rng = rng
        sentences = [sentence for sentence in sentences if not OFFENSIVE.search(sentence)]
        fit = list(dict.fromkeys(s for s in sentences if 20 <= len(s) <= 250 and len(s.split()) >= 4))
        self.unused = rng.sample(fit, len(fit))
        self.long = [s for s in sentences if 320 <= len(s) <= 700]
        self.used: list[str] = []
        self.notes: list[dict[str, Any]] = []

    def post(self, shape: str, when: datetime) -> dict[str, Any]:
        """Create a tweet of `shape`, a key of COUNTS, in the form of an export."""
        number = (int(when.timestamp() * 1000) - TWITTER_EPOCH << 22) | self.rng.getrandbits(12)
        tweet: dict[str, Any] = {
            "id_str": str(number),
            "created_at": when.strftime("%a %b %d %H:%M:%S +0000 %Y"),
            "lang": "en",
            "retweeted": False,
            "favorite_count": str(self.rng.randrange(40)),
            "entities": {"hashtags": [], "user_mentions": [], "urls": []},
        }
        self._fill(tweet, shape, when)
        return {"tweet": tweet}

    def _fill(self, tweet: dict[str, Any], shape: str, when: datetime) -> None:
        other, link, status = self.rng.choice(OTHERS), self._link(), str(1400000000000000000 + self.rng.randrange(10**15))
        if shape == "short":
            tweet["full_text"] = self.rng.choice(SHORT).format(other=other, link=link)
            return
        if shape == "duplicate":
            tweet["full_text"] = self.rng.choice(self.used)
            return
        if shape == "long":
            tweet["full_text"] = self._long(link, when)
            return
        text = html.escape(self._escapable() if shape == "escaped" else self.unused.pop(), quote=False)
        if shape == "hashtag":
            text += f" {self.rng.choice(HASHTAGS)}"
        elif shape == "emoji":
            text += f" {self.rng.choice(EMOJI)}"
        elif shape == "repost":
            text = f"RT @{other}: {text}"[:139] + "…"
        elif shape == "reply":
            text = f"@{other} {text}"
            tweet |= {
                "in_reply_to_status_id_str": status,
                "in_reply_to_user_id_str": "9" + status[:9],
                "in_reply_to_screen_name": other,
            }
        elif shape == "quote":
            text += f" {link}"
            tweet["entities"]["urls"].append({"url": link, "expanded_url": f"https://twitter.com/{other}/status/{status}"})
        elif shape == "link":
            text += f" {link}"
            tweet["entities"]["urls"].append({"url": link, "expanded_url": f"https://example.com/play/{status[-6:]}"})
        elif shape == "media":
            text += f" {link}"
            photo = f"https://twitter.com/{HANDLE}/status/{tweet['id_str']}/photo/1"
            tweet["extended_entities"] = {"media": [{"url": link, "expanded_url": photo, "type": "photo"}]}
        elif shape == "plain":
            self.used.append(text)
        tweet["full_text"] = text

    def _escapable(self) -> str:
        """Return a sentence with `&` and sometimes `<` or `>`."""
        place = next(i for i in range(len(self.unused) - 1, -1, -1) if " and " in self.unused[i])
        return self.unused.pop(place).replace(" and ", " & ", 1) + self.rng.choice(("", " <3", " >> exit"))

    def _long(self, link: str, when: datetime) -> str:
        """Add a long text to the notes, and return its beginning, for its tweet."""
        text = self.long.pop(self.rng.randrange(len(self.long)))
        stamp = (when + timedelta(seconds=1)).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        identity = str(1800000000000000000 + self.rng.randrange(10**15))
        self.notes.append({"noteTweet": {"noteTweetId": identity, "createdAt": stamp, "core": {"text": text}}})
        return f"{text[:CUT_AT].rsplit(' ', 1)[0]}… {link}"

    def _link(self) -> str:
        return "https://t.co/" + "".join(self.rng.choices("ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnpqrstuvwxyz23456789", k=10))


def members(folder: Path) -> dict[str, str | bytes]:
    """Return the content of the export's files by name."""
    rng = random.Random(1604)
    factory = PostFactory(plays(folder)[1], rng)
    shapes = [shape for shape, count in COUNTS.items() for _ in range(count)]
    shapes.sort(key=lambda shape: shape != "plain")
    shapes[1:] = rng.sample(shapes[1:], len(shapes) - 1)  # a plain one first: a duplicate repeats an earlier post
    when, posts = FIRST_POST, []
    for shape in shapes:
        when += timedelta(seconds=rng.randrange(600, 120_000))
        posts.append(factory.post(shape, when))
    posts.reverse()  # as X writes them: newest first
    parts = {"data/tweets.js": posts[:FIRST_PART], "data/tweets-part1.js": posts[FIRST_PART:]}
    account = {"email": "wren@example.com", "username": HANDLE, "accountId": ACCOUNT, "accountDisplayName": NAME}
    decoy = [{"dmConversation": {"messages": [{"messageCreate": {"text": "A decoy: no step ever opens this file."}}]}}]
    return {
        "data/manifest.js": f"window.__THAR_CONFIG = {_json(_manifest(parts, len(factory.notes)))}",
        "data/account.js": _part("account", 0, [{"account": account}]),
        "data/profile.js": _part(
            "profile",
            0,
            [{"profile": {"description": {"bio": BIO, "website": "", "location": "The pit"}, "avatarMediaUrl": AVATAR}}],
        ),
        f"data/profile_media/{ACCOUNT}-wren.jpg": picture(),
        **{name: _part("tweets", number, list(part)) for number, (name, part) in enumerate(parts.items())},
        "data/note-tweet.js": _part("note_tweet", 0, factory.notes),
        "data/direct-messages.js": _part("direct_messages", 0, decoy),
        "data/twitter-circle-tweet.js": _part("twitter_circle_tweet", 0, []),  # as X adds it where nobody was in a circle
    }


def _manifest(parts: dict[str, list[dict[str, Any]]], notes: int) -> dict[str, Any]:
    tweets = [
        {"fileName": name, "globalName": f"YTD.tweets.part{number}", "count": str(len(part))}
        for number, (name, part) in enumerate(parts.items())
    ]
    note = {"fileName": "data/note-tweet.js", "globalName": "YTD.note_tweet.part0", "count": str(notes)}
    return {
        "userInfo": {"accountId": ACCOUNT, "userName": HANDLE, "displayName": NAME},
        "dataTypes": {"tweets": {"mediaDirectory": "data/tweets_media", "files": tweets}, "noteTweet": {"files": [note]}},
    }


def _part(name: str, number: int, elements: list[dict[str, Any]]) -> str:
    return f"window.YTD.{name}.part{number} = {_json(elements)}"


def _json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def write_zip(files: dict[str, str | bytes], out: Path) -> None:
    """Write `files` to the zip `out`; the same files give the same bytes on any day and machine."""
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed:
        for name, text in files.items():
            info = zipfile.ZipInfo(name, PACKED_AT)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.create_system = 3  # Unix, wherever this runs
            info.external_attr = 0o644 << 16
            packed.writestr(info, text.encode("utf-8") if isinstance(text, str) else text, compresslevel=9)


def main() -> None:
    """Write the zip."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--text", type=Path, required=True, help="the folder with shakespeare.txt")
    parser.add_argument("--out", type=Path, required=True, help="the zip to write")
    arguments = parser.parse_args()
    write_zip(members(arguments.text), arguments.out)
    print(f"{arguments.out}: {arguments.out.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
