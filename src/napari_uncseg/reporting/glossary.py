"""What the names of the numbers mean, for those who read a table without the code beside it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from types import MappingProxyType

from napari_uncseg.evaluation.aggregation import AGGREGATORS

MEANINGS: Mapping[str, str] = MappingProxyType(
    {
        "dice": "overlap with the reference, 0 to 1; studies with at least 1 mL of the region in the reference",
        "hd95": "95th percentile of the distance between the surfaces, the larger of both directions; 374 mm where one "
        "of the two is empty; studies as for dice",
        "*_small": "dice and hd95 of the studies with less than 1 mL",
        "*_any_size": "dice and hd95 of all studies, as the BraTS challenges average them",
        "volume_prediction": "predicted volume",
        "volume_reference": "volume in the reference",
        "lesionwise_2023_dice": "mean over lesions and false positives by the rules of BraTS 2023; these count 0",
        "lesionwise_2023_hd95": "the same of hd95; false positives and missed lesions count 374 mm",
        "lesionwise_2023_*": "lesions found (tp), made up (fp), missed (fn), and too small to count (dropped)",
        "ece_classwise": "mean distance between the probability of the region and how often it is there, in equal bins",
        "ece_top_label": "the same between the confidence in the more probable answer and how often it is right",
        "ece_by_distance_*": "ece_classwise by distance from the boundary of the reference",
        "ace_uniform": "as ece_classwise, but every bin that holds a voxel counts the same",
        "aece_equal_mass": "as ece_classwise, in bins of equally many voxels",
        "mce": "the largest distance in a bin of at least 100 voxels",
        "brier": "mean squared difference of the probability and the truth, 0 best",
        "error_*": "ece, ace_uniform, aece_equal_mass, mce, brier of a map that claims to be the probability of error",
        "prevalence": "share of wrong voxels",
        "auroc": "chance that a wrong voxel is more uncertain than a right one; 0.5 is no better than a coin",
        "auprc": "average precision of finding wrong voxels; a map that knows nothing has the prevalence",
        "auprc_over_prevalence": "how many times better than that",
        "fpr_at_95_tpr": "share of right voxels flagged when 95 % of the wrong ones are",
        "errors_caught_*": "share of the wrong voxels among the most uncertain 1, 2, 5 or 10 %",
        "precision_at_*": "share of these voxels that are wrong",
        "rmsd*": "root mean squared difference of map and error",
        "pearson*": "correlation of map and error",
        "spearman*": "correlation of their ranks; pooled: of the ranks within each study",
        "qubrats_dice_auc": "area under the Dice of the voxels that are kept up to a threshold of uncertainty",
        "qubrats_ft?_auc": "area under the share of true positives (ftp) and true negatives (ftn) that this leaves out",
        "qubrats_score": "mean of the first and of 1 less the other two; 0 to 100 spans 0 to the map's largest value",
        "qubrats_gain": "what the score gains over no uncertainty at all",
        "buc": "share of the uncertainty that lies within 3 mm of the boundary of the reference",
        "smooth_mae_*": "mean difference of map and errors, both smoothed by so many mm; in the unit of the map",
        "ue_overlap": "Dice of flagged voxels and wrong ones, at the threshold that suits the calibration studies best",
        "ue_overlap_best": "the same at the threshold that suits best here, which flatters",
        "volume_confounder": "predicted volume, beside the scores that rank studies",
    }
    | {name: f"score of a study: {aggregator.title}" for name, aggregator in AGGREGATORS.items()}
)
"""Name of a metric, or a pattern of names -> what it means. A name of its own comes before a pattern."""


def entry_of(metric: str) -> str:
    """The key of :data:`MEANINGS` that speaks of a metric.

    Raises
    ------
    KeyError
        When there is none.
    """
    if metric in MEANINGS:
        return metric
    try:
        return next(pattern for pattern in MEANINGS if fnmatchcase(metric, pattern))
    except StopIteration:
        raise KeyError(metric) from None


def meanings_of(metrics: Iterable[str]) -> list[tuple[str, str]]:
    """Names and meanings that speak of some metrics, in the order of :data:`MEANINGS`."""
    told = {entry_of(metric) for metric in metrics}
    return [(name, meaning) for name, meaning in MEANINGS.items() if name in told]
