"""An extension of griffe: docstrings refer to names as Sphinx does, and pages are Markdown."""

from __future__ import annotations

import re
from typing import Any

import griffe

_ROLE = re.compile(r":(?:class|func|meth|attr|mod|data|exc):`~?([^`]+)`")


class MarkdownDocstrings(griffe.Extension):
    """Turns roles into code, and ``::`` before an example into nothing."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.docstring is not None:
            text = _ROLE.sub(r"`\1`", obj.docstring.value)
            obj.docstring.value = re.sub(r"^::\n\n", "", re.sub(r"(?<=\S)::\n\n", ":\n\n", text), flags=re.M)
