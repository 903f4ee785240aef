"""A hook of MkDocs: links to files of the project that are not pages, such as examples, lead to a page with the file.

On the code host such a link opens the file itself, so that pages can be read in both places.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

_LINK = re.compile(r"\]\(((?:\.\./)+[^)#\s]+)\)")
_LANGUAGES = {".py": "python", ".yaml": "yaml", ".sh": "sh", ".ipynb": "json"}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds a page for each linked file."""
    docs = Path(config.docs_dir)
    linked = {
        target
        for page in files.documentation_pages()
        for link in _LINK.findall((docs / page.src_uri).read_text())
        if (target := _outside(docs, page.src_uri, link))
    }
    for path in sorted(linked):
        language = _LANGUAGES.get(path.suffix, "text")
        name = path.relative_to(docs.parent).as_posix()
        content = f"# {path.name}\n\n`{name}`\n\n````{language}\n{path.read_text()}\n````\n"
        files.append(File.generated(config, f"files/{name}.md", content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lets links to files of the project lead to their pages."""
    docs = Path(config.docs_dir)

    def replaced(match: re.Match[str]) -> str:
        target = _outside(docs, page.file.src_uri, match[1])
        if target is None:
            return match[0]
        address = f"files/{target.relative_to(docs.parent).as_posix()}.md"
        return f"]({os.path.relpath(address, Path(page.file.src_uri).parent)})"

    return _LINK.sub(replaced, markdown)


def _outside(docs: Path, page: str, link: str) -> Path | None:
    """Returns the file that a page's link leads to, if it is a file of the project outside the pages."""
    target = (docs / page).parent.joinpath(link).resolve()
    inside = docs in target.parents or docs.parent not in target.parents
    return None if inside or not target.is_file() else target
