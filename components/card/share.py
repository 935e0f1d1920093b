"""predictions.html: a page that shows the chosen sample, with the tags that link previews read, and links to post it.

One file that asks nothing of any other and runs no script: the picture is in it, and its policy (CSP) names its style by digest and
forbids all else. https://ogp.me says what the og: tags mean, https://developer.x.com/en/docs/x-for-websites/cards the twitter: ones.
"""

import base64
import hashlib
import html
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from string import Template

from components.card.addresses import Addresses
from components.card.escape import clean, unlinked
from components.card.preview import Chosen

FOLDER = Path(__file__).parent
LONGEST = 2000  # characters of a sample that are shown
DESCRIPTION = 300  # characters; previews show 200 or so
X_WEIGHT, X_LINK, BLUESKY = 280, 23, 300  # what a post may have: on X by weight, of which a link takes 23; on Bluesky characters
LIGHT = (
    (0, 4351),
    (8192, 8205),
    (8208, 8223),
    (8242, 8247),
)  # characters that weigh 1 on X, all others 2: twitter-text's version 3
NOTE = "written by a language model, not by a person"


def share_page(chosen: Chosen, picture: bytes) -> str:
    """The page of the chosen sample as HTML; `picture` is predictions.png. Raises InputError when the card's url is no address."""
    found, style = Addresses.of(chosen.url), (FOLDER / "share.css").read_text("utf-8")
    sample, prompt = clean(chosen.preview.sample, LONGEST), clean(chosen.prompt, LONGEST)
    begins = prompt if sample.startswith(prompt) else ""
    said = sample or "(it said nothing)"
    values = {
        "policy": _policy(style),
        "title": f"{chosen.name}: a bot that writes like {_people(chosen)}",
        "description": clean(f"“{sample}” ({NOTE})" if sample else NOTE.capitalize(), DESCRIPTION),
        "picture": found.picture,
        "alt": clean(f"{chosen.name} writes: {said}", DESCRIPTION),
        "name": chosen.name,
        "people": _people(chosen),
        "prompt": begins,
        "continuation": said[len(begins) :],
        "shown": f"data:image/png;base64,{base64.b64encode(picture).decode()}",
        "x": on_x(chosen.name, sample, found.page),
        "bluesky": on_bluesky(chosen.name, sample, found.page),
    }
    address = html.escape(found.page)
    tags = f'<meta property="og:url" content="{address}">\n<link rel="canonical" href="{address}">\n' if address else ""
    page = Template((FOLDER / "share.html").read_text("utf-8"))
    return page.substitute({key: html.escape(value) for key, value in values.items()}, address=tags, style=style)


def on_x(name: str, sample: str, page: str) -> str:
    """The link that opens X with the sample written, for a person to post or not."""
    room = X_WEIGHT - (X_LINK + 1 if page else 0)
    text = _post(name, sample, lambda text: weight(text) <= room)
    query = {"text": text, **({"url": page} if page else {})}
    return f"https://x.com/intent/post?{urllib.parse.urlencode(query, quote_via=urllib.parse.quote)}"


def on_bluesky(name: str, sample: str, page: str) -> str:
    """The same for Bluesky, which takes a link as part of the text."""
    end = f"\n\n{page}" if page else ""
    text = _post(name, sample, lambda text: len(text) + len(end) <= BLUESKY) + end
    return f"https://bsky.app/intent/compose?{urllib.parse.urlencode({'text': text}, quote_via=urllib.parse.quote)}"


def weight(text: str) -> int:
    """What X counts a text as, of 280."""
    return sum(1 if any(first <= ord(char) <= last for first, last in LIGHT) else 2 for char in text)


def _post(name: str, sample: str, fits: Callable[[str], bool]) -> str:
    """The text of a post: as much of the sample as fits, quoted, and who wrote it. It mentions and links nobody that the sample names."""
    signed = f"{name}, {NOTE}"
    low, high = 1, len(sample)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(_quoted(sample, middle, signed)) else (low, middle - 1)
    return _quoted(sample, low, signed) if sample else signed


def _quoted(sample: str, length: int, signed: str) -> str:
    return f"“{unlinked(sample, length)}”\n\n{signed}"


def _people(chosen: Chosen) -> str:
    return clean(", ".join(person.shown for person in chosen.authors), DESCRIPTION) or "nobody in particular"


def _policy(style: str) -> str:
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
