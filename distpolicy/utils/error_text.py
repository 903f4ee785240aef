"""one_line: the text of an error that code of others raised."""

from __future__ import annotations

# Some errors hold a whole page or array.
MAX_LENGTH = 2000


def one_line(error: BaseException) -> str:
    """Returns an error's text in one line, of limited length. It is empty if the error has none, or fails to tell it.

    Args:
        error: An error of any class.
    """
    try:
        text = " ".join(str(error).split())
    except Exception:
        return ""
    return text if len(text) <= MAX_LENGTH else f"{text[:MAX_LENGTH]}..."
