"""Builders of small X exports, whole or broken, for the tests of fetch."""

import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

NOON = "Wed Feb 01 12:00:00 +0000 2023"


def tweet(number: int | str, text: str, created_at: str = NOON, **more: Any) -> dict[str, Any]:
    return {
        "tweet": {"id_str": str(number), "full_text": text, "created_at": created_at, "lang": "en", "retweeted": False, **more}
    }


def note(text: str, created_at: str = "2023-02-01T12:00:01.000Z") -> dict[str, Any]:
    return {"noteTweet": {"noteTweetId": "77", "createdAt": created_at, "core": {"text": text}}}


def quoting(url: str) -> dict[str, Any]:
    return {"entities": {"urls": [{"url": "https://t.co/abc", "expanded_url": url}]}}


def part(elements: Sequence[Any], number: int = 0, name: str = "tweets") -> str:
    return f"window.YTD.{name}.part{number} = {json.dumps(elements, indent=2)}"


def manifest(*names: str) -> str:
    files = [{"fileName": name, "globalName": f"YTD.tweets.part{number}", "count": "1"} for number, name in enumerate(names)]
    user = {"accountId": "5", "userName": "wren", "displayName": "Wren & Co"}
    return f"window.__THAR_CONFIG = {json.dumps({'userInfo': user, 'dataTypes': {'tweets': {'files': files}}})}"


def export(*tweets: Any, notes: Sequence[Any] = ()) -> dict[str, str]:
    """The files of a whole export with one part."""
    files = {
        "data/manifest.js": manifest("data/tweets.js"),
        "data/account.js": part(
            [{"account": {"username": "wren", "accountDisplayName": "Wren", "accountId": "5"}}], 0, "account"
        ),
        "data/profile.js": part([{"profile": {"description": {"bio": "Small bird."}}}], 0, "profile"),
        "data/tweets.js": part(tweets),
    }
    return files | ({"data/note-tweet.js": part(notes, 0, "note_tweet")} if notes else {})


def old_tweet(number: int, text: str, created_at: str = "2015-01-24 02:02:37 +0000", **more: Any) -> dict[str, Any]:
    """A post as exports before 2019 have it: numbers are numbers, and its author comes along."""
    user = {"name": "Wren", "screen_name": "wren", "protected": False, "id_str": "5", "id": 5, "verified": False}
    empty: dict[str, list[Any]] = {"user_mentions": [], "media": [], "hashtags": [], "urls": []}
    source = '<a href="http://twitter.com" rel="nofollow">Twitter Web Client</a>'
    return {
        "source": source, "entities": empty, "geo": {}, "id_str": str(number), "text": text, "id": number,
        "created_at": created_at, "user": user, **more,
    }  # fmt: skip


def old_export(*tweets: Any, month: str = "2015_01") -> dict[str, str]:
    """The files of a whole export before 2019."""
    details = {
        "screen_name": "wren",
        "full_name": "Wren & Co",
        "bio": "Small bird.",
        "id": "5",
        "created_at": "2009-01-01 00:00:00 +0000",
    }
    index = [{"file_name": f"data/js/tweets/{month}.js", "var_name": f"tweets_{month}", "tweet_count": len(tweets)}]
    return {
        "README.txt": "Hello", "index.html": "<html>",
        "data/js/user_details.js": f"var user_details =  {json.dumps(details, indent=2)}",
        "data/js/payload_details.js": 'var payload_details =  {"tweets" : 1, "lang" : "en"}',
        "data/js/tweet_index.js": f"var tweet_index =  {json.dumps(index, indent=2)}",
        f"data/js/tweets/{month}.js": f"Grailbird.data.tweets_{month} = \n {json.dumps(tweets, indent=2)}",
    }  # fmt: skip


def as_zip(path: Path, files: Mapping[str, str | bytes], top: str = "") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, text in files.items():
            packed.writestr(top + name, text)
    return path


def as_folder(path: Path, files: Mapping[str, str | bytes], top: str = "") -> Path:
    for name, text in files.items():
        target = path / (top + name)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(text.encode() if isinstance(text, str) else text)
    return path
