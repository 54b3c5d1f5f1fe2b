#!/usr/bin/env python3
"""Count lines of code: without blank lines, comments and docstrings. ``scripts/count_code.py [FOLDER ...]``."""

from __future__ import annotations

import ast
import io
import sys
import tokenize
from collections import Counter
from pathlib import Path

SKIPPED = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}


def code_lines(source: str) -> int:
    """Lines that hold code."""
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in SKIPPED:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            lines.difference_update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return len(lines)


def main(folders: list[str]) -> None:
    """Print a line per package of each folder, and the sum."""
    for folder in folders:
        root, counts = Path(folder), Counter[str]()
        for file in sorted(root.rglob("*.py")):
            place = file.relative_to(root).parts
            counts[place[0] if len(place) > 1 else "(modules)"] += code_lines(file.read_text(encoding="utf-8"))
        for package, count in counts.most_common():
            print(f"{count:7d}  {root / package}")
        print(f"{counts.total():7d}  {root}")


if __name__ == "__main__":
    main(sys.argv[1:] or ["src/napari_uncseg", "training/uncseg_training", "tests"])
