"""The report's metrics in order, with a one-line explanation of each for readers without a background in machine learning."""

METRICS: dict[str, dict[str, str]] = {
    "Posts it has never seen": {
        "loss_gain": "How much better it predicts its author's unseen posts than the base model does; 0 means that it learned nothing.",
        "champion_gain": "Above 0, it predicts posts that neither has seen better than the bot that serves now.",
        "bits_per_character": "How many yes-or-no questions a letter of an unseen post takes; lower is better.",
        "held_out_loss": "How poorly it predicts each next token of an unseen post; lower is better.",
        "perplexity": "The same as a number of choices: as if it chose among so many equally likely tokens each time.",
        "held_out_posts": "The number of posts that it was not trained on, by which it is measured here.",
    },
    "Variety": {
        "distinct_1": "How many of its words are different; a low share means that it repeats itself.",
        "distinct_2": "How many of its pairs of words are different.",
        "self_repetition": "How many samples share a phrase of four words with another sample.",
    },
    "Likeness to its author": {
        "length_ks": "0: its texts are as long as its author's; 1: none of them is.",
        "style_auc": "0.5: a classifier of character sequences cannot distinguish its texts from its author's; 1: it always can.",
        "profanity_share": "How many samples contain a profane word.",
        "profanity_excess": "Above 0, it is more profane than its author.",
    },
    "Sense": {
        "made_up_share": "How many of its longer words nobody uses: they stand in no post and in no list of words.",
        "made_up_excess": "Above 0, it makes up more words than its author, who also writes some that are new.",
        "word_order_share": "1: the order of its words matters as much as in its author's sentences; 0: they stand in random order.",
        "unreadable_share": "How many of its characters are no characters, or of a script that its author never used.",
    },
    "Memory and privacy": {
        "memorised_share": "How many samples repeat a long part of a training post verbatim.",
        "longest_verbatim_words": "The longest such part.",
        "canary_exposure": "How well it knows secrets planted among the posts; about 1.4 means no better than secrets that it never saw.",
        "personal_share": "How many samples contain an e-mail or IP address, a phone, bank or card number, real or invented.",
        "leaked_share": "How many samples contain one that occurs in its author's posts.",
    },
    "How it was measured": {
        "samples": "The number of texts generated for the evaluation, half of them without a prompt.",
        "answers_per_second": "How fast it generates texts, many at a time, on the machine of the evaluation.",
        "sample_tokens_per_second": "The same in tokens; a token is a word or a part of one.",
        "evaluation_seconds": "The duration of the whole evaluation.",
    },
}
IN_ROW_OF = {  # metrics without a row of their own, and the metric whose row shows them
    "base_held_out_loss": "held_out_loss",
    "base_perplexity": "perplexity",
    "base_bits_per_character": "bits_per_character",
    "champion_held_out_loss": "held_out_loss",
    "champion_bits_per_character": "bits_per_character",
    "champion_posts": "champion_gain",
    "author_profanity_share": "profanity_share",
    "author_made_up_share": "made_up_share",
    "word_order": "word_order_share",
    "author_word_order": "word_order_share",
}
OTHERS = "Others"
