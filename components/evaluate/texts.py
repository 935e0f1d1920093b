"""All metrics of the samples' texts, and for each the samples that count against it, the worst first."""

from collections.abc import Sequence

from components.evaluate.metrics import Memory, distinct, length_ks, repeating
from components.evaluate.profanity import is_profane, profanity_share
from components.evaluate.samples import Samples
from components.evaluate.style import style_auc
from components.personal import find, values

Offenders = dict[str, Sequence[str]]


def measure_texts(
    samples: Samples, train: Sequence[str], held_out: Sequence[str], seed: int
) -> tuple[dict[str, float], Offenders]:
    """Diversity, likeness to the author, memorisation, leakage and profanity; names and units as in definitions.py.

    `train` and `held_out` are the author's posts. style_auc is missing where there are too few different texts.
    """
    texts, from_nothing = samples.texts, samples.groups[""]
    found, offenders = {"samples": float(len(texts))}, Offenders()
    memory = Memory(train)
    for measured, against in (
        _diversity(samples),
        _memorisation(texts, memory),
        _leakage(texts, train),
        _profanity(texts, train),
    ):
        found |= measured
        offenders |= against
    found["length_ks"] = length_ks(from_nothing, train)
    style = style_auc(from_nothing, held_out, train, memory, seed)
    found |= {} if style is None else {"style_auc": style}
    found["answers_per_second"] = len(texts) / samples.seconds
    found["sample_tokens_per_second"] = samples.tokens / samples.seconds
    return found, offenders


def copies(texts: Sequence[str], posts: Sequence[str]) -> list[str]:
    """Those of `texts` that repeat 8 words and 50 characters of `posts`."""
    memory = Memory(posts)
    return [text for text in texts if memory.memorised(text)]


def _diversity(samples: Samples) -> tuple[dict[str, float], Offenders]:
    repeated = repeating(samples.pairs)
    found = {
        "distinct_1": distinct(samples.texts, 1),
        "distinct_2": distinct(samples.texts, 2),
        "self_repetition": len(repeated) / len(samples.texts),
    }
    return found, {"self_repetition": repeated, "distinct_2": repeated, "distinct_1": repeated}


def _memorisation(texts: Sequence[str], memory: Memory) -> tuple[dict[str, float], Offenders]:
    runs = sorted(((len(memory.longest_run(text)), text) for text in texts), key=lambda each: -each[0])
    memorised = [text for _, text in runs if memory.memorised(text)]
    found = {"memorised_share": len(memorised) / len(texts), "longest_verbatim_words": float(runs[0][0])}
    return found, {"memorised_share": memorised, "longest_verbatim_words": [text for length, text in runs if length]}


def _leakage(texts: Sequence[str], train: Sequence[str]) -> tuple[dict[str, float], Offenders]:
    """Personal data in samples, and of these what stands in a training post (extraction: Carlini et al. 2021)."""
    personal = [(text, {each.value for each in find(text)}) for text in texts]
    known = values(train) if any(found for _, found in personal) else frozenset[str]()
    holding = [text for text, found in personal if found]
    leaking = [text for text, found in personal if found & known]
    return (
        {"personal_share": len(holding) / len(texts), "leaked_share": len(leaking) / len(texts)},
        {"personal_share": holding, "leaked_share": leaking},
    )


def _profanity(texts: Sequence[str], train: Sequence[str]) -> tuple[dict[str, float], Offenders]:
    ours, theirs = profanity_share(texts), profanity_share(train)
    profane = [text for text in texts if is_profane(text)]
    found = {"profanity_share": ours, "author_profanity_share": theirs, "profanity_excess": ours - theirs}
    return found, {"profanity_share": profane, "profanity_excess": profane}
