"""What mkdocs does with a page before it becomes one of the site.

``<!-- include: FILE -->`` stands for a file of the repository, such as the model card that lies beside the weights.
A link to a file outside of ``docs/`` leads to the repository where its address is known, and is plain text elsewhere.
"""

from __future__ import annotations

import os
import posixpath
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
INCLUDE = re.compile(r"<!-- include: (\S+) -->")
ROLE = re.compile(r":(?:attr|class|data|func|meth|mod):<code>~?")
LINK = re.compile(r"(?<!!)\[(?P<text>[^\]]+)\]\((?P<target>[^)#:\s]+)(?P<anchor>#[^)]*)?\)")

PAGES = {
    "src/napari_uncseg/models/bundled/MODEL_CARD.md": "model-card.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
}
"""Files outside of ``docs/`` that have a page of the site."""


def on_page_markdown(markdown: str, page: Any, config: Any, **_: Any) -> str:
    """Put in what is included, and turn links that leave ``docs/``."""
    place = f"docs/{page.file.src_uri}"
    parts = INCLUDE.split(markdown)  # text, file, text, file, text ...
    texts = [turn_links(part, place, place, config.repo_url) for part in parts[::2]]
    files = [
        turn_links((ROOT / name).read_text(encoding="utf-8"), name, place, config.repo_url) for name in parts[1::2]
    ]
    return "".join(text for pair in zip(texts, [*files, ""], strict=True) for text in pair)


def on_page_content(html: str, **_: Any) -> str:
    """Leave out the roles of Sphinx that docstrings have before a name."""
    return ROLE.sub("<code>", html)


def turn_links(markdown: str, written_in: str, shown_in: str, repository: str | None) -> str:
    """Turn links that hold in one file into such as hold on a page, both named from the top of the repository."""

    def turn(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(written_in), match["target"]))
        page = PAGES.get(target)
        if page is not None or (target.startswith("docs/") and written_in != shown_in):
            place = posixpath.relpath(f"docs/{page}" if page else target, posixpath.dirname(shown_in))
            return f"[{match['text']}]({place}{match['anchor'] or ''})"
        if target.startswith("docs/") or not os.path.exists(ROOT / target):
            return match[0]  # a page of the site, or a link that leads nowhere, which mkdocs tells
        return f"[{match['text']}]({repository}/blob/main/{target})" if repository else match["text"]

    return LINK.sub(turn, markdown)
