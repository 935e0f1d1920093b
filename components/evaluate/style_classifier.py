"""Measures how well a classifier distinguishes a bot's samples from its author's posts."""

import random
from collections.abc import Sequence

from components.evaluate.text_metrics import Memory

MIN_POSTS, MAX_POSTS = 100, 400  # the author's posts compared with 100 samples; more take time and change little
FOLDS = 5


def style_auc(samples: Sequence[str], held_out: Sequence[str], train: Sequence[str], memory: Memory, seed: int) -> float | None:
    """Return the area under the ROC curve of a classifier of samples and real posts, 0.5 (chance) to 1 (perfect).

    This is a classifier two-sample test (Lopez-Paz and Oquab 2017, "Revisiting Classifier Two-Sample Tests"): logistic regression on
    TF-IDF of 2 to 4 characters within words; the mean over 5 cross-validated folds. A mean below 0.5 counts as 0.5.

    Real posts are held-out posts, of which no sample can be a copy; when there are fewer than MIN_POSTS, training posts chosen by the
    seed are added. A memorised sample would pass as real without any style, so it counts as distinguished: with m the share of
    memorised samples, the result is m + (1 - m) * AUC of the others.

    Args:
        samples: samples without a prompt.
        held_out: the author's held-out posts.
        train: the author's training posts.
        memory: the n-grams of `train`.
        seed: of the choice of posts and of the folds.

    Returns:
        The result; None when either side has fewer than two distinct texts.
    """
    rng = random.Random(seed)
    original = [text for text in samples if text and not memory.memorised(text)]
    memorised = sum(map(memory.memorised, samples)) / len(samples)
    real = list(dict.fromkeys(held_out))
    real = rng.sample(real, min(MAX_POSTS, len(real)))
    others = list(dict.fromkeys(train))
    real += rng.sample(others, max(0, min(MIN_POSTS - len(real), len(others))))
    if len(original) < 2 or len(real) < 2:
        return 1.0 if memorised and len(real) >= 2 else None
    return memorised + (1 - memorised) * max(0.5, _auc(original, real, seed))


def _auc(generated: Sequence[str], real: Sequence[str], seed: int) -> float:
    # scikit-learn takes 3 s to import, and only an evaluation needs it.
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_score

    # IDF uses no labels, so it is fitted once on all texts. liblinear starts no threads, which would contend on a busy machine.
    vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), lowercase=False, sublinear_tf=True)
    features, labels = vectorizer.fit_transform([*generated, *real]), [1] * len(generated) + [0] * len(real)
    folds = StratifiedKFold(min(FOLDS, len(generated), len(real)), shuffle=True, random_state=seed)
    classifier = LogisticRegression(C=10, solver="liblinear", class_weight="balanced")
    return float(cross_val_score(classifier, features, labels, cv=folds, scoring="roc_auc", n_jobs=1).mean())
