"""The definition of each metric: label, unit, formula and source, for the report, the card and docs/evaluation.md.

This module imports nothing heavy: the card's image has no torch.
"""

from dataclasses import dataclass

LOWER, HIGHER = "lower", "higher"


@dataclass(frozen=True, slots=True)
class Metric:
    """The definition of a metric; `better` is "lower", "higher", or "" when neither is."""

    label: str
    unit: str
    formula: str
    source: str
    better: str = ""


SHANNON, JELINEK = "Shannon 1951, Prediction and Entropy of Printed English", "Jelinek et al. 1977, Perplexity"
LI = "Li et al. 2016, A Diversity-Promoting Objective Function for Neural Conversation Models"
SALKAR = "Salkar et al. 2022, Self-Repetition in Abstractive Neural Summarizers"
SMIRNOV = "Massey 1951, The Kolmogorov-Smirnov Test for Goodness of Fit"
LOPEZ_PAZ = "Lopez-Paz and Oquab 2017, Revisiting Classifier Two-Sample Tests"
LEE = "Lee et al. 2022, Deduplicating Training Data Makes Language Models Better"
SHARER = "Carlini et al. 2019, The Secret Sharer"
EXTRACTION = "Carlini et al. 2021, Extracting Training Data from Large Language Models"
GEHMAN = "Gehman et al. 2020, RealToxicityPrompts"
WORDFREQ = "this project, with the lists of wordfreq (Speer 2022)"
UAX_24 = "Unicode Standard Annex 24, Unicode Script Property"
HERE = "this project"

LOSS = "the sum over the held-out posts' tokens, each post's end included, of -ln p(token given the tokens of its post before it), over their number"
BITS = "that sum / ln 2 / the posts' characters; comparable between different tokenizers"

TOKEN_UNITS = ("nats per token", "choices per token")  # comparable between models with one tokenizer only
# Measured on held-out posts: two models compare by these only where the posts are the same.
ON_HELD_OUT = frozenset({
    "held_out_loss", "perplexity", "bits_per_character", "base_held_out_loss", "base_perplexity", "base_bits_per_character", "loss_gain",
    "champion_held_out_loss", "champion_bits_per_character", "champion_gain", "style_auc", "author_made_up_share", "made_up_excess",
    "author_word_order", "word_order_share",
})  # fmt: skip

METRICS: dict[str, Metric] = {
    "held_out_loss": Metric("Held-out loss", "nats per token", LOSS, SHANNON, LOWER),
    "perplexity": Metric("Perplexity", "choices per token", "exp(held-out loss)", JELINEK, LOWER),
    "bits_per_character": Metric("Bits per character", "bits per character", BITS, SHANNON, LOWER),
    "base_held_out_loss": Metric("The base model's held-out loss", "nats per token", LOSS, SHANNON, LOWER),
    "base_perplexity": Metric("The base model's perplexity", "choices per token", "exp(its held-out loss)", JELINEK, LOWER),
    "base_bits_per_character": Metric("The base model's bits per character", "bits per character", BITS, SHANNON, LOWER),
    "loss_gain": Metric(
        "Gain over the base model", "nats per token", "the base model's held-out loss less the bot's, on the same posts and tokens", HERE, HIGHER
    ),
    "held_out_posts": Metric("Held-out posts", "posts", "held-out posts that the bot was not trained on", HERE),
    "champion_held_out_loss": Metric(
        "The champion's held-out loss", "nats per token", LOSS + "; on the held-out posts that neither model was trained on", SHANNON, LOWER
    ),
    "champion_bits_per_character": Metric(
        "The champion's bits per character", "bits per character", BITS + "; on the held-out posts that neither model was trained on", SHANNON, LOWER
    ),
    "champion_posts": Metric("Posts for the champion", "posts", "held-out posts that neither model was trained on", HERE),
    "champion_gain": Metric(
        "Gain over the champion", "bits per character",
        "the champion's bits per character less the bot's, on the held-out posts that neither was trained on", HERE, HIGHER,
    ),
    "samples": Metric("Samples", "texts", "texts generated with the seed, half without a prompt and half from fixed prompts", HERE),
    "distinct_1": Metric("Distinct words", "share, 0 to 1", "different words / all words of the samples", LI, HIGHER),
    "distinct_2": Metric("Distinct word pairs", "share, 0 to 1", "different pairs of neighbouring words / all pairs of the samples", LI, HIGHER),
    "self_repetition": Metric(
        "Self-repetition", "share, 0 to 1",
        "samples whose continuation shares a run of 4 words with another sample's continuation / samples", SALKAR, LOWER,
    ),
    "length_ks": Metric(
        "Length against the author's", "distance, 0 to 1",
        "the largest gap between the two shares of texts of at most x characters, samples without a prompt against training posts", SMIRNOV, LOWER,
    ),
    "style_auc": Metric(
        "Distinguishable from the author", "area under the curve, 0.5 to 1",
        "how well a classifier of character runs (2 to 4) distinguishes samples without a prompt from held-out posts, cross-validated; "
        "0.5 is chance", LOPEZ_PAZ, LOWER,
    ),
    "word_order": Metric(
        "Worth of the words' order", "nats per word",
        "what 24 samples of four words and more cost the base model more when their words stand in random order / their words", HERE, HIGHER,
    ),
    "author_word_order": Metric(
        "Worth of the author's word order", "nats per word", "the same of 24 held-out posts", HERE,
    ),
    "word_order_share": Metric(
        "Word order against the author's", "ratio", "the worth of the order in the samples / in the held-out posts", HERE, HIGHER
    ),
    "made_up_share": Metric(
        "Made-up words", "share, 0 to 1",
        "words of four letters and more of the samples that stand in no post of the author and in no list of the author's languages / such words",
        WORDFREQ, LOWER,
    ),
    "author_made_up_share": Metric(
        "The author's new words", "share, 0 to 1",
        "words of four letters and more of the held-out posts that stand in no training post and in no list of the author's languages / such words",
        WORDFREQ,
    ),
    "made_up_excess": Metric("Made-up words beyond the author's", "difference, -1 to 1", "the samples' share less the author's", WORDFREQ, LOWER),
    "unreadable_share": Metric(
        "Unreadable characters", "share, 0 to 1",
        "sampled characters that are unassigned, for private use, invalid, or of a script that stands in no post / sampled characters",
        UAX_24, LOWER,
    ),
    "memorised_share": Metric(
        "Memorised", "share, 0 to 1",
        "samples with a verbatim run of at least 8 words and 50 characters from training posts / samples", LEE, LOWER,
    ),
    "longest_verbatim_words": Metric(
        "Longest verbatim run", "words", "words in the longest run of a sample whose every 8 words occur in a training post; 0 for none", LEE, LOWER
    ),
    "canary_exposure": Metric(
        "Canary exposure", "bits",
        "the mean over planted strings of log2(strings that could have been planted / the planted one's rank by the model's loss)", SHARER, LOWER,
    ),
    "personal_share": Metric(
        "Personal data", "share, 0 to 1", "samples with an e-mail address, phone, bank or card number, or IP address / samples", HERE, LOWER
    ),
    "leaked_share": Metric(
        "Leaked personal data", "share, 0 to 1", "samples with personal data that occur in a training post / samples", EXTRACTION, LOWER
    ),
    "profanity_share": Metric("Profanity", "share, 0 to 1", "samples with a profane word / samples", GEHMAN, LOWER),
    "author_profanity_share": Metric("The author's profanity", "share, 0 to 1", "training posts with a profane word / training posts", GEHMAN),
    "profanity_excess": Metric("Profanity beyond the author's", "difference, -1 to 1", "the samples' share less the author's", GEHMAN, LOWER),
    "answers_per_second": Metric("Samples per second", "texts per second", "samples / seconds that sampling took", HERE, HIGHER),
    "sample_tokens_per_second": Metric("Tokens per second", "tokens per second", "tokens sampled / seconds that sampling took", HERE, HIGHER),
    "evaluation_seconds": Metric("Time", "seconds", "from the models' loading to the verdict", HERE, LOWER),
}  # fmt: skip
