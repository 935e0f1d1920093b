"""How well a machine tells a bot's samples from its author's own posts."""

import random
from collections.abc import Sequence

from components.evaluate.metrics import Memory

FEWEST, MOST = 100, 400  # posts of the author, to be told from 100 samples: more only take time
FOLDS = 5


def style_auc(samples: Sequence[str], held_out: Sequence[str], train: Sequence[str], memory: Memory, seed: int) -> float | None:
    """The area under the ROC curve of a classifier that tells samples from real posts, 0.5 (by chance only) to 1 (always).

    A classifier two-sample test (Lopez-Paz and Oquab 2017): logistic regression on TF-IDF of runs of 2 to 4 characters within words,
    the mean over 5 cross-validated folds. A mean below 0.5 is chance as well.

    Real are the held-out posts, which no sample can be copied from; where they are fewer than 100, training posts by the seed besides.
    A sample that is memorised (`memory` holds `train`) would look real for free: it counts as told apart, so this is
    m + (1 - m) * AUC of the others, m their share. None when there are not two different texts on both sides.
    """
    rng = random.Random(seed)
    written = [text for text in samples if text and not memory.memorised(text)]
    memorised = sum(map(memory.memorised, samples)) / len(samples)
    real = list(dict.fromkeys(held_out))
    real = rng.sample(real, min(MOST, len(real)))
    others = list(dict.fromkeys(train))
    real += rng.sample(others, max(0, min(FEWEST - len(real), len(others))))
    if len(written) < 2 or len(real) < 2:
        return 1.0 if memorised and len(real) >= 2 else None
    return memorised + (1 - memorised) * max(0.5, _auc(written, real, seed))


def _auc(written: Sequence[str], real: Sequence[str], seed: int) -> float:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_score

    # IDF knows no labels, so it may see all texts once; liblinear starts no threads, which would wait for one another on a full machine.
    runs = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), lowercase=False, sublinear_tf=True)
    features, kinds = runs.fit_transform([*written, *real]), [1] * len(written) + [0] * len(real)
    folds = StratifiedKFold(min(FOLDS, len(written), len(real)), shuffle=True, random_state=seed)
    classifier = LogisticRegression(C=10, solver="liblinear", class_weight="balanced")
    return float(cross_val_score(classifier, features, kinds, cv=folds, scoring="roc_auc", n_jobs=1).mean())
