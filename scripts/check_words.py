#!/usr/bin/env python3
"""Find words that the field does not use, in code and docs. ``scripts/check_words.py [FILE ...]``; all by default.

A line that must keep a word, such as the name of an old option, ends in ``# words: keep``.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

WORDS: dict[str, str] = {
    r"told_plainly|PlainGroup": "handle_errors",
    r"wishes": "predict_kwargs",
    r"LineUp": "EnsemblePlan",
    r"Gathered": "the result of postprocessing",
    r"own words|Own words": "Custom…",
    r"Relief|build_relief": "Watershed",
    r"Circumstances|whereabouts": "location",
    r"Readout|read_out": "ThresholdSweep",
    r"BARE": "HIDE_OVERLAYS",
    r"let_go": "disconnect_all",
    r"make_comfortable|comfort": "bindings",
    r"recall_stop|remember_stop": "recall_case",
    r"Looks": "AppearancePrior",
    r"halfway_between": "average_with",
    r"whole heads": "whole volumes",
    r"liquor": "CSF",
    r"thick doubt|Thick doubt|specks": "uncertain region, components below 0.05 mL",
    r"of it true": "prevalence",
    r"freed of the skull": "skull-stripped",
    r"mends? the probabilities|mean what they say": "recalibrate",
    r"the rooms|a room|test_doors": "packages",
    r"needs? eyes": "to review first",
    r"most doubtful": "least certain",
    r"Two reviewers": "Inter-rater agreement",
    r"Take back": "Undo",
}
"""What goes (a regular expression of whole words) -> what comes."""

KEPT: tuple[str, ...] = ("scripts/check_words.py", "CHANGELOG.md", "docs/results/", "tests/")
"""Files that speak of older versions, or quote them."""

_PATTERN = re.compile("|".join(rf"\b(?:{words})\b" for words in WORDS))


def found_in(path: Path) -> list[str]:
    """A line for each word of a file that goes."""
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if "words: keep" in line:
            continue
        for match in _PATTERN.finditer(line):
            better = next(new for old, new in WORDS.items() if re.fullmatch(old, match[0]))
            found.append(f"{path}:{number}: {match[0]} -> {better}")
    return found


def main(names: list[str]) -> int:
    """Print what was found; 1 when there is any."""
    if not names:
        names = subprocess.run(["git", "ls-files"], capture_output=True, text=True, check=True).stdout.splitlines()
    wanted = [name for name in names if name.endswith((".py", ".md", ".j2", ".yaml"))]
    paths = [Path(name) for name in wanted if not name.startswith(KEPT)]
    found = [line for path in paths if path.is_file() for line in found_in(path)]
    print("\n".join(found), end="\n" if found else "")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
