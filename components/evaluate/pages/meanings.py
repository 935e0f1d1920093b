"""The metrics in the order in which the report shows them, each in one plain line for a person who never met it."""

METRICS: dict[str, dict[str, str]] = {
    "Posts it has never seen": {
        "loss_gain": "How much better it foresees its author's unseen posts than the base model does; 0: it learnt nothing of them.",
        "champion_gain": "Above 0, it foresees posts that neither has seen better than the bot that serves now.",
        "bits_per_character": "How many yes-or-no questions a letter of an unseen post takes; fewer is better.",
        "held_out_loss": "How much each next piece of an unseen post surprises it; less is better.",
        "perplexity": "The same as a number of choices: between so many it wavers at each next piece.",
        "held_out_posts": "So many posts were kept from it, and measure it here.",
    },
    "Variety": {
        "distinct_1": "How many of all its words are different ones; few: it says the same over and over.",
        "distinct_2": "How many of its pairs of words are different ones.",
        "self_repetition": "How many samples share a phrase of four words with another sample.",
    },
    "Likeness to its author": {
        "length_ks": "0: its texts are as long as its author's; 1: none is.",
        "style_auc": "0.5: a program that compares runs of letters can't tell its texts from its author's; 1: it always can.",
        "profanity_share": "How many samples have a profane word.",
        "profanity_excess": "Above 0, it is more profane than its author.",
    },
    "Memory and privacy": {
        "memorised_share": "How many samples repeat a long run of a training post word for word.",
        "longest_verbatim_words": "The longest such run.",
        "canary_exposure": "How well it knows secrets planted among the posts; about 1.4: no better than ones it never saw.",
        "personal_share": "How many samples have an e-mail or IP address, a phone, bank or card number, true or made up.",
        "leaked_share": "How many samples have one that stands in its author's posts.",
    },
    "How it was measured": {
        "samples": "So many texts were generated to measure, half of them from nothing.",
        "answers_per_second": "How fast it writes texts, many at a time, on the machine that evaluated.",
        "sample_tokens_per_second": "The same in tokens, a word or a piece of one each.",
        "evaluation_seconds": "How long the whole evaluation took.",
    },
}
BESIDE = {  # shown beside another metric, not in a row of its own
    "base_held_out_loss": "held_out_loss",
    "base_perplexity": "perplexity",
    "base_bits_per_character": "bits_per_character",
    "champion_held_out_loss": "held_out_loss",
    "champion_bits_per_character": "bits_per_character",
    "champion_posts": "champion_gain",
    "author_profanity_share": "profanity_share",
}
OTHERS = "Others"
