"""Candidates beside each other on one fold: ``python -m uncseg_training.experiments.choices`` (``--help``).

``NAME=RESULTS [NAME=RESULTS ...] --mean ONE,OTHER --studies PATIENTS -o OUT``: each folder of results holds the same
patients, predicted by networks that never saw them. Written are, with means over patients,

- *candidates*: Dice, lesion-wise Dice and false lesions of each, and of the mean of the probabilities of two,
- *weights*: Dice where the other of two has another share than one half in that mean,
- *thresholds*: Dice where the probability is cut elsewhere than at one half,
- *smallest*: the same without components smaller than a bound.

What is chosen by these tables is written down before other folds are predicted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer
from skimage.morphology import remove_small_objects

from napari_uncseg.arrays import Floats32, Mask
from napari_uncseg.io.results import find_results, load_prediction, read_result
from napari_uncseg.io.study import Study
from napari_uncseg.labels import REGIONS, region_masks
from napari_uncseg.metrics.lesionwise import score_lesions
from napari_uncseg.metrics.morphology import bounding_box
from napari_uncseg.metrics.overlap import dice
from uncseg_training.data.labelled_studies import labelled_studies
from uncseg_training.experiments import harness
from uncseg_training.experiments.harness import Row

THRESHOLDS = (0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6)
WEIGHTS = (0.0, 0.25, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
SMALLEST_ML = (0.0, 0.02, 0.05, 0.1, 0.25)
JOINED = " and "
SEEN = 0.05
"""Where no candidate has more than that, nothing changes."""


def probabilities_of(
    folders: Mapping[str, Path], pairs: Sequence[tuple[str, str]], studies: Mapping[str, Callable[[], Study]]
) -> Iterator[tuple[Study, dict[str, Floats32]]]:
    """Each study with the probabilities of every candidate and of the mean of each pair.

    Raises
    ------
    ValueError
        When the folders do not hold the same studies.
    """
    found = {
        name: {read_result(path).study_id: path for path in find_results(folder)} for name, folder in folders.items()
    }
    first = next(iter(found.values()))
    for name, results in found.items():
        if set(results) != set(first) or not results:
            raise ValueError(f"{folders[name]} does not hold the studies of {next(iter(folders.values()))}.")
    for study_id in sorted(first):
        each = {name: load_prediction(results[study_id]).probabilities for name, results in found.items()}
        half = np.float32(0.5)
        both = {f"{a}{JOINED}{b}": half * each[a] + half * each[b] for a, b in pairs}
        yield studies[study_id](), each | both


def measure(
    studies: Iterator[tuple[Study, dict[str, Floats32]]],
    pairs: Sequence[tuple[str, str]] = (),
    tell: Callable[[str], None] = typer.echo,
) -> pd.DataFrame:
    """Every number of every study: a row per candidate, region, threshold and bound."""
    rows: list[Row] = []
    for study, candidates in studies:
        assert study.reference is not None  # it would not be among these otherwise
        seen = np.max([each[0] for each in candidates.values()], axis=0) > SEEN
        box = bounding_box(seen | (study.reference > 0), margin=(4, 4, 4)) or (slice(0, 8),) * 3
        true = region_masks(study.reference[box])
        for name, probabilities in candidates.items():
            for index, region in enumerate(REGIONS):
                inside, row = probabilities[index][box], {"candidate": name, "study": study.id, "region": str(region)}
                rows += [row | {"threshold": cut, "dice": dice(inside > cut, true[index])} for cut in THRESHOLDS]
                rows += [
                    row | {"smallest": bound, **_lesions(inside > 0.5, true[index], bound, study)}
                    for bound in SMALLEST_ML
                ]
        for one, other in pairs:
            for weight, (index, region) in product(WEIGHTS, enumerate(REGIONS)):
                mean = (1 - weight) * candidates[one][index][box] + weight * candidates[other][index][box]
                row = {"candidate": f"{one}{JOINED}{other}", "study": study.id, "region": str(region)}
                rows.append(row | {"weight": weight, "dice": dice(mean > 0.5, true[index])})
        tell(study.id)
    return pd.DataFrame(rows)


def _lesions(drawn: Mask, true: Mask, smallest_ml: float, study: Study) -> Row:
    if smallest_ml:
        bound = int(np.ceil(smallest_ml / study.voxel_ml)) - 1
        drawn = remove_small_objects(drawn, max_size=bound, connectivity=3)
    found = score_lesions(drawn, true, study.spacing)
    lesionwise = found.dice.sum() / (found.tp + found.fn + found.fp) if found.tp + found.fn + found.fp else 1.0
    return {"dice": dice(drawn, true), "lesion-wise": float(lesionwise), "false lesions": found.fp}


def tables_of(numbers: pd.DataFrame) -> dict[str, list[Row]]:
    """The tables."""
    tables: dict[str, list[Row]] = {"candidates": [], "weights": [], "thresholds": [], "smallest": []}
    for name, rows in numbers.groupby("candidate", sort=False):
        plain = rows[rows["smallest"] == 0]
        if len(plain):
            row: Row = {"candidate": name, "n": int(plain["study"].nunique())}
            row |= {str(region): harness.interval(plain[plain["region"] == str(region)]["dice"]) for region in REGIONS}
            tables["candidates"].append(row | _means(plain, "lesion-wise") | _means(plain, "false lesions"))
        for column, table in (("weight", "weights"), ("threshold", "thresholds"), ("smallest", "smallest")):
            for value, part in rows.groupby(column):  # rows of other tables have none
                told = {"candidate": name, column: value, **_means(part, "dice")}
                if column == "smallest":
                    told |= _means(part, "lesion-wise") | _means(part, "false lesions")
                tables[table].append(told)
    return tables


def _means(rows: pd.DataFrame, what: str) -> Row:
    found = rows.groupby("region")[what].mean()
    return {f"{what} {region}": round(float(found[str(region)]), 3) for region in REGIONS}


@harness.experiment
def main(
    candidates: Annotated[list[str], typer.Argument(help="Results of each candidate, as NAME=FOLDER.")],
    out: harness.Out,
    studies: Annotated[list[Path], typer.Option(help="Folder of studies with references; repeat for several.")],
    mean: Annotated[list[str] | None, typer.Option(help="Two candidates, as ONE,OTHER; repeat for several.")] = None,
) -> None:
    """Write the tables by which a candidate is chosen."""
    folders = {}
    for word in candidates:
        name, equals, folder = word.partition("=")
        if not equals or not name:
            raise ValueError(f"{word} has no name; write it as NAME={word}.")
        folders[name] = Path(folder)
    pairs = []
    for word in mean or ():
        one, _, other = word.partition(",")
        if not {one, other} <= set(folders):
            raise ValueError(f"{word} does not name two of {', '.join(folders)}; write them as ONE,OTHER.")
        pairs.append((one, other))
    tables = tables_of(measure(probabilities_of(folders, pairs, labelled_studies(studies)), pairs))
    for name, rows in tables.items():
        harness.write_table(rows, out / name, f"{name.capitalize()}, means over patients")
        typer.echo((out / name).with_suffix(".md").read_text())


if __name__ == "__main__":
    typer.run(main)
