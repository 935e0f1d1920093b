"""Metrics of the generated samples, with the samples that count against each metric."""

from collections.abc import Sequence

from components.evaluate.made_up_words import count_made_up
from components.evaluate.profanity import is_profane, profanity_share
from components.evaluate.samples import Samples
from components.evaluate.style_classifier import style_auc
from components.evaluate.text_metrics import Memory, distinct, length_ks, repeated_samples
from components.evaluate.unreadable import unreadable_share
from components.evaluate.word_order import WordOrder
from mynah.data.personal_data import find, values

Offenders = dict[str, Sequence[str]]  # samples by metric, the worst first


def measure_texts(
    samples: Samples,
    train: Sequence[str],
    held_out: Sequence[str],
    seed: int,
    languages: Sequence[str] = (),
    order: WordOrder | None = None,
) -> tuple[dict[str, float], Offenders]:
    """Measure the diversity, similarity to the author, sense, memorisation, leakage and profanity of samples.

    Names and units of the metrics are in mynah.models.metric_definitions.

    Args:
        samples: the generated samples.
        train: the author's training posts.
        held_out: the author's held-out posts.
        seed: the evaluation's seed.
        languages: the posts' languages, each of which has a list of words; without any, made-up words are not counted.
        order: what the order of words is worth, if it can be told.

    Returns:
        The metrics, without style_auc when there are too few distinct texts, and the samples that count against them.
    """
    texts, unprompted = samples.texts, samples.groups[""]
    metrics, offenders = {"samples": float(len(texts))}, Offenders()
    memory = Memory(train)
    for group_metrics, group_offenders in (
        _diversity(samples),
        _memorisation(texts, memory),
        _leakage(texts, train),
        _profanity(texts, train),
        _sense(samples, train, held_out, languages),
        _order(order),
    ):
        metrics |= group_metrics
        offenders |= group_offenders
    metrics["length_ks"] = length_ks(unprompted, train)
    style = style_auc(unprompted, held_out, train, memory, seed)
    metrics |= {} if style is None else {"style_auc": style}
    metrics["answers_per_second"] = len(texts) / samples.seconds
    metrics["sample_tokens_per_second"] = samples.tokens / samples.seconds
    return metrics, offenders


def memorised_texts(texts: Sequence[str], posts: Sequence[str]) -> list[str]:
    """Return the texts that repeat posts verbatim (see Memory.memorised).

    Args:
        texts: the samples.
        posts: the posts that may be repeated.
    """
    memory = Memory(posts)
    return [text for text in texts if memory.memorised(text)]


def _diversity(samples: Samples) -> tuple[dict[str, float], Offenders]:
    repeated = repeated_samples(samples.pairs)
    metrics = {
        "distinct_1": distinct(samples.texts, 1),
        "distinct_2": distinct(samples.texts, 2),
        "self_repetition": len(repeated) / len(samples.texts),
    }
    return metrics, {"self_repetition": repeated, "distinct_2": repeated, "distinct_1": repeated}


def _memorisation(texts: Sequence[str], memory: Memory) -> tuple[dict[str, float], Offenders]:
    runs = sorted(((len(memory.longest_run(text)), text) for text in texts), key=lambda run: -run[0])
    memorised = [text for _, text in runs if memory.memorised(text)]
    metrics = {"memorised_share": len(memorised) / len(texts), "longest_verbatim_words": float(runs[0][0])}
    return metrics, {"memorised_share": memorised, "longest_verbatim_words": [text for length, text in runs if length]}


def _leakage(texts: Sequence[str], train: Sequence[str]) -> tuple[dict[str, float], Offenders]:
    """Measure personal data in samples, and the part of it that occurs in training posts (extraction: Carlini et al. 2021)."""
    found = [(text, {match.value for match in find(text)}) for text in texts]
    known = values(train) if any(data for _, data in found) else frozenset[str]()
    personal = [text for text, data in found if data]
    leaked = [text for text, data in found if data & known]
    return (
        {"personal_share": len(personal) / len(texts), "leaked_share": len(leaked) / len(texts)},
        {"personal_share": personal, "leaked_share": leaked},
    )


def _profanity(texts: Sequence[str], train: Sequence[str]) -> tuple[dict[str, float], Offenders]:
    share, author_share = profanity_share(texts), profanity_share(train)
    profane = [text for text in texts if is_profane(text)]
    metrics = {"profanity_share": share, "author_profanity_share": author_share, "profanity_excess": share - author_share}
    return metrics, {"profanity_share": profane, "profanity_excess": profane}


def _order(order: WordOrder | None) -> tuple[dict[str, float], Offenders]:
    if not order:
        return {}, {}
    metrics = {"word_order_share": order.share, "word_order": order.gain, "author_word_order": order.author_gain}
    return metrics, {"word_order_share": order.samples}


def _sense(
    samples: Samples, train: Sequence[str], held_out: Sequence[str], languages: Sequence[str]
) -> tuple[dict[str, float], Offenders]:
    """Words that nobody uses, and characters that nobody can read."""
    share, unreadable = unreadable_share(samples.pairs, [*train, *held_out], samples.invalid)
    metrics, offenders = {"unreadable_share": share}, Offenders({"unreadable_share": unreadable})
    if languages:
        found = count_made_up(samples.pairs, train, held_out, languages)
        metrics |= {"made_up_share": found.share, "author_made_up_share": found.author_share, "made_up_excess": found.excess}
        offenders |= {"made_up_share": found.samples, "made_up_excess": found.samples}
    return metrics, offenders
