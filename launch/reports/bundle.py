"""vega_bundle: the JavaScript of Vega, Vega-Lite and Vega-Embed as one text, which a page holds."""

from __future__ import annotations

import contextlib
import os
from importlib.metadata import version
from pathlib import Path

from distpolicy.utils.atomic_files import write_whole
from distpolicy.utils.compilation.compile_cache import user_cache_folder
from distpolicy.utils.files.private_paths import why_others_may_change

# What a page calls.
_SNIPPET = "window.vegaEmbed = vegaEmbed;"

# Released under the BSD 3-clause licence, whose notice goes with every copy.
NOTICE = (
    "Vega, Vega-Lite and Vega-Embed: Copyright (c) 2015-2025 University of Washington Interactive Data Lab, "
    "BSD-3-Clause, https://github.com/vega/vega/blob/main/LICENSE"
)


def vega_bundle() -> str:
    """Returns the bundle. It is put together once, which takes seconds, and then kept in the user's cache folder."""
    folder = user_cache_folder() / "distpolicy" / f"vega-{version('vl-convert-python')}"
    path = folder / "bundle.js"
    if _is_private(folder):
        with contextlib.suppress(OSError, UnicodeDecodeError):
            return path.read_text(encoding="utf-8")
    import vl_convert

    # A page would end its script at such a tag.
    text = vl_convert.javascript_bundle(_SNIPPET).replace("</script", "<\\/script")
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if _is_private(folder):
            write_whole(path, text.encode())
    return text


def _is_private(folder: Path) -> bool:
    """Returns True if nobody else can put a script there."""
    base = user_cache_folder()
    try:
        there = next(place for place in (folder, *folder.parents) if os.path.lexists(place))
        return why_others_may_change(there, base if there.is_relative_to(base) else None) is None
    except OSError:
        return False
