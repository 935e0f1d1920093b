"""Create predictions.html: a page that shows the chosen sample, with metadata for link previews and links to post it.

The page is one file with the picture in it, runs no script and loads nothing; its content security policy names its style by digest.
The og: tags are those of https://ogp.me, the twitter: tags those of https://developer.x.com/en/docs/x-for-websites/cards.
"""

import base64
import hashlib
import html
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from string import Template

from components.card.preview import ChosenSample
from components.card.urls import CardUrls
from mynah.data.markdown import clean, unlinked

FOLDER = Path(__file__).parent
MAX_SAMPLE_LENGTH = 2000  # characters of a sample that are shown
MAX_DESCRIPTION_LENGTH = 300  # characters; previews show about 200
X_WEIGHT, X_LINK, BLUESKY = 280, 23, 300  # limits of a post: on X a weight, of which a link takes 23; on Bluesky, characters
LIGHT_CHARACTERS = (
    (0, 4351),
    (8192, 8205),
    (8208, 8223),
    (8242, 8247),
)  # code points of weight 1 on X, all others have 2: https://github.com/twitter/twitter-text, configuration v3
NOTE = "written by a language model, not by a person"


def share_page(chosen: ChosenSample, picture: bytes) -> str:
    """Create the share page as HTML.

    Args:
        chosen: The content of card.json.
        picture: The bytes of predictions.png.

    Returns:
        The page.

    Raises:
        InputError: The card's URL is invalid.
    """
    urls, style = CardUrls.of(chosen.url), (FOLDER / "share_page.css").read_text("utf-8")
    sample, prompt = clean(chosen.preview.sample, MAX_SAMPLE_LENGTH), clean(chosen.prompt, MAX_SAMPLE_LENGTH)
    prompt_prefix = prompt if sample.startswith(prompt) else ""
    sample_text = sample or "(empty sample)"
    values = {
        "policy": _policy(style),
        "title": f"{chosen.name}: a bot that writes like {_people(chosen)}",
        "description": clean(f"“{sample}” ({NOTE})" if sample else NOTE.capitalize(), MAX_DESCRIPTION_LENGTH),
        "picture": urls.picture,
        "alt": clean(f"{chosen.name} writes: {sample_text}", MAX_DESCRIPTION_LENGTH),
        "name": chosen.name,
        "people": _people(chosen),
        "prompt": prompt_prefix,
        "continuation": sample_text[len(prompt_prefix) :],
        "shown": f"data:image/png;base64,{base64.b64encode(picture).decode()}",
        "x": on_x(chosen.name, sample, urls.page),
        "bluesky": on_bluesky(chosen.name, sample, urls.page),
    }
    address = html.escape(urls.page)
    tags = f'<meta property="og:url" content="{address}">\n<link rel="canonical" href="{address}">\n' if address else ""
    page = Template((FOLDER / "share_page.html").read_text("utf-8"))
    return page.substitute({key: html.escape(value) for key, value in values.items()}, address=tags, style=style)


def on_x(name: str, sample: str, page: str) -> str:
    """Return the link that opens X with a draft post of the sample.

    Args:
        name: The bot's name.
        sample: The sample.
        page: The URL of the share page, which the post links to; "" for none.

    Returns:
        The URL.
    """
    max_weight = X_WEIGHT - (X_LINK + 1 if page else 0)
    text = _post(name, sample, lambda text: x_weight(text) <= max_weight)
    query = {"text": text, **({"url": page} if page else {})}
    return f"https://x.com/intent/post?{urllib.parse.urlencode(query, quote_via=urllib.parse.quote)}"


def on_bluesky(name: str, sample: str, page: str) -> str:
    """Return the link that opens Bluesky with a draft post of the sample.

    Args:
        name: The bot's name.
        sample: The sample.
        page: The URL of the share page, which is part of the text there; "" for none.

    Returns:
        The URL.
    """
    end = f"\n\n{page}" if page else ""
    text = _post(name, sample, lambda text: len(text) + len(end) <= BLUESKY) + end
    return f"https://bsky.app/intent/compose?{urllib.parse.urlencode({'text': text}, quote_via=urllib.parse.quote)}"


def x_weight(text: str) -> int:
    """Return the weight of a text on X, whose limit is 280."""
    return sum(1 if any(first <= ord(char) <= last for first, last in LIGHT_CHARACTERS) else 2 for char in text)


def _post(name: str, sample: str, fits: Callable[[str], bool]) -> str:
    """Return the text of a post: as much of the quoted sample as fits, and its origin, without mentions and links."""
    signature = f"{name}, {NOTE}"
    low, high = 1, len(sample)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(_quoted(sample, middle, signature)) else (low, middle - 1)
    return _quoted(sample, low, signature) if sample else signature


def _quoted(sample: str, length: int, signature: str) -> str:
    return f"“{unlinked(sample, length)}”\n\n{signature}"


def _people(chosen: ChosenSample) -> str:
    return clean(", ".join(person.shown for person in chosen.authors), MAX_DESCRIPTION_LENGTH) or "its authors"


def _policy(style: str) -> str:
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
