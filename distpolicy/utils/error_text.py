"""one_line: the text of an error that code of others raised."""

from __future__ import annotations

import traceback

# Some errors hold a whole page or array.
MAX_LENGTH = 2000


def one_line(error: BaseException) -> str:
    """Returns an error's text in one line, of limited length. It is empty if the error has none, or fails to tell it.

    Args:
        error: An error of any class.
    """
    try:
        text = " ".join((str(error) or _assertion(error)).split())
    except Exception:
        return ""
    # The name of a file that is not UTF-8 has characters in it that no file and no terminal takes.
    text = text.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= MAX_LENGTH else f"{text[:MAX_LENGTH]}..."


def _assertion(error: BaseException) -> str:
    """Returns the line of code of an assertion that says nothing else; empty for other errors."""
    if not isinstance(error, AssertionError) or error.__traceback__ is None:
        return ""
    return traceback.extract_tb(error.__traceback__)[-1].line or ""
