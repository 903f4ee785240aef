"""text_table: a table in plain text, which programs can read as well."""

from __future__ import annotations

from collections.abc import Collection, Sequence


def text_table(rows: Sequence[tuple[str, ...]], numbers: Collection[int] = ()) -> str:
    """Returns a table, with two blanks between its columns.

    Args:
        rows: The rows, the first one with the titles.
        numbers: The columns that hold numbers, which stand at the right.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            text.rjust(width) if index in numbers else text.ljust(width)
            for index, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines) + "\n"
