"""Unreadable characters: those that no author of these posts would write, or that are no characters at all."""

from collections.abc import Sequence

from mynah.data.scripts import UNREADABLE, author_scripts, script_of, scripts_of


def unreadable_share(samples: Sequence[tuple[str, str]], posts: Sequence[str], invalid: int) -> tuple[float, list[str]]:
    """The share of unreadable characters among all that were sampled, 0 to 1, and the samples with some, the worst first.

    Unreadable is what is unassigned or for private use, U+FFFD, and what is of a script (UAX #24) that stands in none of the posts.

    Args:
        samples: A prompt and the text that begins with it, each; the prompt's characters do not count, and its scripts are readable.
        posts: All of the author's.
        invalid: Characters that were sampled and are left out of the texts, since no bytes form them.
    """
    scripts = author_scripts(posts)
    counts: list[tuple[int, str]] = []
    total = invalid
    for prompt, text in samples:
        written, readable = text[len(prompt) :], (scripts | scripts_of(prompt)) - {UNREADABLE}
        foreign = {character for character in set(written) if script_of(character) not in readable}
        counts.append((sum(map(written.count, foreign)), text))
        total += len(written)
    unreadable = invalid + sum(count for count, _ in counts)
    worst = [text for count, text in sorted(counts, key=lambda each: -each[0]) if count]
    return (unreadable / total if total else 0.0), worst
