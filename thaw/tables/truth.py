"""Words and numbers that mean true or false, in CSV files."""

import math

TRUE = ("true", "yes", "t", "y")
FALSE = ("false", "no", "f", "n", "")


def truth_of(text: str) -> bool | None:
    """Read a word or a number as true or false; None if it is neither."""
    word = text.strip().lower()
    if word in TRUE or word in FALSE:
        return word in TRUE
    try:
        number = float(word)
    except ValueError:
        return None
    return number != 0 if math.isfinite(number) else None
