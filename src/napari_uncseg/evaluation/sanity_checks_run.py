"""What may be wrong with an evaluation before anybody believes its numbers: remarks, the gravest first.

Each rule is a function from :class:`Evidence` to remarks; nothing is read from disk here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from napari_uncseg.evaluation.sanity_checks import Evidence, Remark, Severity
from napari_uncseg.evaluation.sanity_checks_files import (
    disagreement,
    label_mix_up,
    leakage,
    mixed_predictions,
    same_file,
    unknown_brain,
    unpredicted,
)
from napari_uncseg.evaluation.sanity_checks_numbers import (
    all_voxels_alone,
    few_studies,
    impossible_ece,
    missing_regions,
    one_class,
    volume_confounder,
)

RULES: tuple[Callable[[Evidence], Iterator[Remark]], ...] = (
    impossible_ece,
    label_mix_up,
    same_file,
    leakage,
    disagreement,
    mixed_predictions,
    volume_confounder,
    all_voxels_alone,
    missing_regions,
    one_class,
    unknown_brain,
    unpredicted,
    few_studies,
)


def lint(evidence: Evidence) -> list[Remark]:
    """Remarks on an evaluation, errors first.

    Parameters
    ----------
    evidence : Evidence

    Returns
    -------
    list of Remark
        In the order of severity, then of the rules.
    """
    order = list(Severity)
    remarks = [remark for rule in RULES for remark in rule(evidence)]
    return sorted(remarks, key=lambda remark: order.index(remark.severity))
