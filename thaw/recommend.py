"""What a user would rate highest: no torch."""

import numpy as np
import pandas as pd

from thaw.ratings.interpret import Learned, predict_pairs
from thaw.ratings.table import numbered


def recommend(learned: Learned, table: pd.DataFrame, user: str, count: int) -> pd.DataFrame:
    """Return the items with the highest predictions among those that a user has not rated.

    Args:
        learned: the model.
        table: the items table, which says what was rated.
        user: an id; an unknown one is an average user.
        count: how many items at most.

    Returns:
        item, title, prediction, best first; equal ones in the order of the vocabulary.
    """
    row = numbered(pd.Series([user]), learned.vocabulary["users"])
    rated = set(table.loc[table["user"] == user, "item_row"])
    rows = np.array([r for r in range(1, len(learned.items)) if r not in rated], np.int64)
    predictions = predict_pairs(learned, row, rows)[0]
    best = np.argsort(-predictions, kind="stable")[:count]
    return pd.DataFrame(learned.names(rows[best]) | {"prediction": predictions[best]})
