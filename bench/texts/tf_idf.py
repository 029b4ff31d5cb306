"""The baseline of `bench.texts`: TF-IDF of words and pairs of words, and logistic regression.

As in scikit-learn's tutorials on text. C is chosen by cross-validation of the training texts.

N rows.
"""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline

_C_GRID = (1.0, 10.0, 100.0, 1000.0)


def predict(texts: list[str], y_N: NDArray[np.intp], others: list[str]) -> NDArray[np.intp]:
    """Learn from labelled texts, and classify others."""
    model = make_pipeline(
        TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2)),
        LogisticRegression(max_iter=100, tol=1e-3),
    )
    folds = StratifiedKFold(min(3, int(np.bincount(y_N).min())), shuffle=True, random_state=0)
    search = GridSearchCV(model, {"logisticregression__C": _C_GRID}, cv=folds)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        search.fit(texts, y_N)
    predicted_N: NDArray[np.intp] = search.predict(others)
    return predicted_N
