"""Which studies validate which fold: patients stay together, and so do studies that share an image.

The file is nnU-Net's ``splits_final.json``: a list with one ``{"train": [...], "val": [...]}`` per fold.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from napari_uncseg.errors import StudyError
from napari_uncseg.io.files import write_files

FOLDS, SEED = 5, 12345
SPLITS = Path(__file__).parents[1] / "configs" / "splits_gliomas.json"
"""Folds of the patients that the release network learns from."""


def patient(study: str) -> str:
    """Patient of a study named with the number of the visit behind his own: ``GLI-00003`` of ``GLI-00003-001``."""
    return re.sub(r"(?<=\d)-\d{3}$", "", study)


def split_by_group(groups: Mapping[str, str], folds: int = FOLDS, seed: int = SEED) -> list[dict[str, list[str]]]:
    """Splits in nnU-Net's form in which no group is on both sides.

    Parameters
    ----------
    groups : mapping of str to str
        Study -> group.
    folds : int
        How many.
    seed : int
        The same seed gives the same splits, in whatever order the studies come.

    Returns
    -------
    list of dict
        ``train`` and ``val``, sorted; every study is in ``val`` once, and folds differ by at most the largest group.

    Raises
    ------
    StudyError
        When there are fewer groups than folds.
    """
    members: dict[str, list[str]] = defaultdict(list)
    for study, group in sorted(groups.items()):
        members[group].append(study)
    if len(members) < folds:
        raise StudyError(f"{len(members)} patients cannot be split into {folds} folds; ask for fewer.")
    names = sorted(members)
    np.random.default_rng(seed).shuffle(names)
    parts: list[list[str]] = [[] for _ in range(folds)]
    for name in sorted(names, key=lambda group: -len(members[group])):  # stable: the shuffle decides among equals
        min(parts, key=len).extend(members[name])
    return [{"train": sorted(set(groups) - set(part)), "val": sorted(part)} for part in parts]


def join_groups(groups: Mapping[str, str], alike: Iterable[Sequence[str]]) -> dict[str, str]:
    """Join the groups of studies that are alike.

    Parameters
    ----------
    groups : mapping of str to str
        Study -> group.
    alike : iterable of sequence of str
        Studies that must not be parted.

    Returns
    -------
    dict of str to str
        Study -> group, which is called after the first of those that were joined.
    """
    parent = {group: group for group in groups.values()}

    def root(group: str) -> str:
        while parent[group] != group:
            group = parent[group]
        return group

    for studies in alike:
        roots = sorted({root(groups[study]) for study in studies})
        parent.update(dict.fromkeys(roots[1:], roots[0]))
    return {study: root(group) for study, group in groups.items()}


def write_splits(splits: Sequence[Mapping[str, Sequence[str]]], path: Path) -> None:
    """Write folds as nnU-Net does."""
    write_files({path: (json.dumps(splits, indent=1) + "\n").encode()})


def read_splits(path: Path) -> list[dict[str, list[str]]]:
    """Read folds.

    Raises
    ------
    ValueError
        When the file is absent or holds something else, or a study is on two sides of a fold.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        splits = [{side: [str(name) for name in fold[side]] for side in ("train", "val")} for fold in content]
    except FileNotFoundError:
        raise ValueError(f"{path} is not there; write it with: uncseg-train splits CASES -o {path}") from None
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise ValueError(f"{path} holds no folds ({error}); write it with: uncseg-train splits") from None
    for number, fold in enumerate(splits):
        if both := sorted(set(fold["train"]) & set(fold["val"])):
            raise ValueError(f"{path}: fold {number} trains on {both[0]} and holds it out; take it out of one side.")
    return splits
