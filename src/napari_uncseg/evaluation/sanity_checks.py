"""What may be wrong with an evaluation before anybody believes its numbers: rules from evidence to results."""

from __future__ import annotations

import re
import tomllib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import pandas as pd

from napari_uncseg.evaluation.cache import Record
from napari_uncseg.evaluation.error_models import OUT_OF_FOLD
from napari_uncseg.evaluation.expected_dice import EXPECTED_DICE, VOLUME
from napari_uncseg.evaluation.table import by_case, select
from napari_uncseg.labels import REGIONS, Label, Region
from napari_uncseg.metrics.calibration import ece_bound
from napari_uncseg.metrics.overlap import SMALL_ML, better_numbering, is_small, region_dice
from napari_uncseg.metrics.voxel_sets import VoxelSet

FEW_STUDIES = 10
"""Fewer say little about a mean, and nothing about a correlation."""

_MIX_UP_GAIN = 0.15
"""Mean label Dice that another numbering must win before it is suspected; poor but honest segmentations stay below."""

_LEAST_AGREEMENT = 0.95
_PATIENT = re.compile(r"(BraTS-[A-Za-z]+-\d+)-\d{3}")
_BOUNDED_SETS = (VoxelSet.UNION, VoxelSet.REFERENCE, VoxelSet.PREDICTION)
_BOUNDED_METRICS = ("ece_classwise", "ece_top_label")
_EASY = 0.1
"""An AUROC this much above the one around the tumour owes it to easy background."""

_CONFOUNDED = 0.5
"""Spearman correlation of a score with the predicted volume that is worth a warning."""


class Severity(StrEnum):
    """How much the result of a check weighs; ``error``: numbers are wrong; ``warning``: they may mislead."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True)
class CheckResult:
    """Something a reader must know before the numbers.

    Parameters
    ----------
    rule : str
        Name of the rule.
    severity : Severity
    message : str
        What was found and what to do.
    studies : tuple of str
        Which studies, when not all.
    """

    rule: str
    severity: Severity
    message: str
    studies: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class CohortEvidence:
    """All that the rules look at.

    Parameters
    ----------
    table : pandas.DataFrame
        Long table, of single studies and over them.
    records : sequence of Record
        The studies.
    calibration : mapping of str to str
        Id of a calibration study -> sha256 of its reference; empty without calibration studies.
    unpredicted : sequence of str
        References that no prediction was made for.
    rankings : pandas.DataFrame, optional
        See :func:`~napari_uncseg.evaluation.expected_dice.rankings`.
    """

    table: pd.DataFrame
    records: Sequence[Record]
    calibration: Mapping[str, str] | None = None
    unpredicted: Sequence[str] = ()
    rankings: pd.DataFrame | None = None

    def studies(self, is_odd: Callable[[Record], bool]) -> list[str]:
        """Ids of the studies whose record is told by a predicate."""
        return [record.study for record in self.records if is_odd(record)]


def studies_in_words(count: int) -> str:
    """``1 study``, ``2 studies``."""
    return f"{count} {'study' if count == 1 else 'studies'}"


def run_checks(evidence: CohortEvidence) -> list[CheckResult]:
    """Check an evaluation.

    Parameters
    ----------
    evidence : CohortEvidence

    Returns
    -------
    list of CheckResult
        In the order of severity, errors first, then of the rules.
    """
    order = list(Severity)
    results = [result for rule in RULES for result in rule(evidence)]
    return sorted(results, key=lambda result: order.index(result.severity))


def impossible_ece(evidence: CohortEvidence) -> Iterator[CheckResult]:
    """A calibration error above what the Dice of the same study allows.

    With Dice D precision and recall are at least J = D / (2 - D), so on the reference, the prediction or their union at
    most 1 - J of the voxels are misclassified, and a binary calibration error cannot exceed (2 - J) / 2; see
    :func:`~napari_uncseg.metrics.calibration.ece_bound`.
    """
    dice = {record.study: region_dice(record.checks.get("confusion")) for record in evidence.records}
    cases = select(evidence.table, aggregation="case").dropna(subset="value")
    bounded = cases[cases["metric"].isin(_BOUNDED_METRICS) & cases["voxel_set"].isin(_BOUNDED_SETS)]
    for row in bounded.itertuples():
        overlap = dice.get(row.case, {}).get(row.region)
        if overlap is not None and row.value > ece_bound(overlap) + 1e-6:
            yield from _told("impossible ECE", [row.case], row=row, dice=overlap, bound=ece_bound(overlap))


def label_mix_up(evidence: CohortEvidence) -> Iterator[CheckResult]:
    """Another numbering of the predicted labels that fits the reference much better."""
    told = {record.study: record.checks["confusion"] for record in evidence.records if "confusion" in record.checks}
    counts = {study: np.asarray(confusion, dtype=np.int64) for study, confusion in told.items()}
    suspects: dict[tuple[int, ...], list[str]] = defaultdict(list)
    for study, confusion in counts.items():
        numbering, gain = better_numbering(confusion)
        if gain >= _MIX_UP_GAIN:
            suspects[numbering].append(study)
    for which, studies in suspects.items():
        numbering, gain = better_numbering(np.sum(list(counts.values()), axis=0))
        everywhere = which == numbering and gain >= _MIX_UP_GAIN
        swaps = [(label, Label(meant)) for label, meant in zip(Label, which, strict=True) if label != meant]
        swap = ", ".join(f"{label.name} as {meant.name}" for label, meant in swaps)
        yield from _told("label mix-up", studies, Severity.ERROR if everywhere else Severity.WARNING, swap=swap)


def same_file(evidence: CohortEvidence) -> Iterator[CheckResult]:
    """A reference that is the prediction, or one reference under two names."""
    copies = evidence.studies(_is_copy)
    perfect = evidence.studies(lambda record: _identical(record.checks.get("confusion")))
    yield from _told("reference is the prediction", copies)
    yield from _told("identical segmentations", [study for study in perfect if study not in copies])
    hashes: dict[str, list[str]] = defaultdict(list)
    for record in evidence.records:
        hashes[record.inputs.get("reference", record.study)].append(record.study)
    for studies in hashes.values():
        yield from _told("one reference twice", studies if len(studies) > 1 else (), names=" and ".join(studies))


def leakage(evidence: CohortEvidence) -> Iterator[CheckResult]:
    """Studies, references or patients that are in both calibration and test."""
    calibration = evidence.calibration or {}
    yield from _told("leakage", sorted(evidence.studies(lambda record: record.study in calibration)))
    known = {sha256: study for study, sha256 in calibration.items() if sha256}
    for study, reference in ((record.study, record.inputs.get("reference", "")) for record in evidence.records):
        twin = known.get(reference, study)
        yield from _told("leakage of a reference", [study] if twin != study else (), study=study, twin=twin)
    patients = {patient_of(study) for study in calibration}
    visits = evidence.studies(lambda each: each.study not in calibration and patient_of(each.study) in patients)
    yield from _told("leakage of a patient", sorted(visits))


def disagreement(evidence: CohortEvidence) -> Iterator[CheckResult]:
    """A segmentation that is not what its own probabilities say."""
    agreements = {record.study: (record.checks.get("agreement") or {}).values() for record in evidence.records}
    found = [study for study, dice in agreements.items() if min(dice, default=1.0) < _LEAST_AGREEMENT]
    return _told("segmentation and probabilities", found, least=_LEAST_AGREEMENT)


def mixed_predictions(evidence: CohortEvidence) -> Iterator[CheckResult]:
    """Predictions of more than one model, that are not the folds of a cross-validation, or setting in one table."""
    checks = [record.checks for record in evidence.records]
    folds = all(OUT_OF_FOLD.items() <= (each.get("settings") or {}).items() for each in checks)
    models = {str((each.get("model") or {}).get("sha256")) for each in checks if not folds}
    settings = {repr(_how_predicted(each.get("settings") or {})) for each in checks}
    for what, different in (("models", models), ("settings", settings)):
        if len(different) > 1:
            yield _result("mixed predictions", what=what, count=len(different))


def volume_confounder(evidence: CohortEvidence) -> Iterator[CheckResult]:
    """Scores that order studies by the size of the tumour."""
    ranked = evidence.rankings
    if ranked is None or ranked.empty:
        return
    apart = (ranked["score"] != VOLUME[0]) & (ranked["count"] >= FEW_STUDIES)
    strong = ranked[apart & (ranked["spearman_volume"].abs() >= _CONFOUNDED)]
    for region, rows in strong.groupby("region", sort=False):
        leads = region == Region.WT and EXPECTED_DICE[0] in set(rows["score"])
        found = (
            f"{row.score} {row.map} {row.spearman_volume:+.2f} (with Dice {row.spearman_dice:+.2f})".replace("  ", " ")
            for row in rows.itertuples()
        )
        words: dict[str, Any] = {"region": region, "found": ", ".join(found), "count": rows["count"].max()}
        yield _result("volume confounder", severity=Severity.WARNING if leads else Severity.NOTE, **words)


def all_voxels(evidence: CohortEvidence) -> Iterator[CheckResult]:
    """An AUROC over the brain much above the one around the tumour."""
    means = select(evidence.table, metric="auroc", aggregation="mean").dropna(subset="value")
    wide = means.pivot(index=["region", "map"], columns="voxel_set", values="value")
    if {VoxelSet.BRAIN, VoxelSet.TUMOUR} <= set(wide.columns):
        easy = wide[wide[VoxelSet.BRAIN] - wide[VoxelSet.TUMOUR] >= _EASY]
        for region, rows in easy.groupby("region", sort=False):
            pairs = zip(rows.index, rows[VoxelSet.BRAIN], rows[VoxelSet.TUMOUR], strict=True)
            found = ", ".join(f"{name} {brain:.3f} and {tumour:.3f}" for (_, name), brain, tumour in pairs)
            yield _result("all-voxel AUROC", region=region, voxels=VoxelSet.BRAIN, found=found)


def missing_regions(evidence: CohortEvidence) -> Iterator[CheckResult]:
    """Regions that the reference lacks or has less than 1 mL of."""
    volumes = {each.study: each.checks["volumes_ml"] for each in evidence.records if each.checks.get("volumes_ml")}
    for region in REGIONS:
        expected = {study: of["reference"][region] for study, of in volumes.items()}
        absent = [study for study, ml in expected.items() if ml == 0]
        small = [study for study, ml in expected.items() if ml != 0 and is_small(ml)]
        invented = sum(volumes[study]["prediction"][region] > 0 for study in absent)
        counts: dict[str, Any] = {"absent": studies_in_words(len(absent)), "small": studies_in_words(len(small))}
        counts["found"] = f"; the prediction finds some in {invented} of those without" if invented else ""
        yield from _told("missing regions", sorted(absent + small), region=region, least=SMALL_ML, **counts)


def one_class(evidence: CohortEvidence) -> Iterator[CheckResult]:
    """AUROC that does not exist because all voxels are right, or all are misclassified."""
    cases = select(evidence.table, metric="auroc", aggregation="case")
    for (region, voxels), rows in cases[cases["value"].isna()].groupby(["region", "voxel_set"], sort=False):
        # Each map names the studies again.
        yield from _told("one-class AUROC", rows["case"].unique(), region=region, voxels=voxels)


def what_is_missing(evidence: CohortEvidence) -> Iterator[CheckResult]:
    """Expected Dice or brain that are not known, references without a prediction, too few studies for an interval."""
    told = set(by_case(evidence.table, metric=EXPECTED_DICE[0], region=Region.WT).index)
    yield from _told("no expected Dice", evidence.studies(lambda record: record.study not in told))
    yield from _told("brain unknown", evidence.studies(lambda record: record.brain != "images"))
    yield from _told("references without a prediction", evidence.unpredicted)
    if 0 < len(evidence.records) < FEW_STUDIES:
        yield _result("few studies", count=studies_in_words(len(evidence.records)))


RULES: tuple[Callable[[CohortEvidence], Iterator[CheckResult]], ...] = (
    *(impossible_ece, label_mix_up, same_file, leakage, disagreement, mixed_predictions, volume_confounder),
    *(all_voxels, missing_regions, one_class, what_is_missing),
)


def patient_of(study: str) -> str:
    """Patient of a study: BraTS names end in the number of the visit."""
    named = _PATIENT.fullmatch(study)
    return named[1] if named else study


def _told(rule: str, studies: Iterable[str], severity: Severity | None = None, **words: Any) -> Iterator[CheckResult]:
    """A result that names studies, if there are any."""
    if named := tuple(studies):
        yield _result(rule, named, severity, n=studies_in_words(len(named)), **words)


def _result(rule: str, studies: tuple[str, ...] = (), severity: Severity | None = None, **words: Any) -> CheckResult:
    known = _sentences()[rule]
    message = known["message"].format(**words)
    return CheckResult(known.get("rule", rule), severity or Severity(known["severity"]), message, studies)


@cache
def _sentences() -> dict[str, dict[str, str]]:
    """Severity and message of each rule."""
    return tomllib.loads(files(__package__).joinpath("sanity_checks.toml").read_text(encoding="utf-8"))


def _is_copy(record: Record) -> bool:
    own = {sha256 for role, sha256 in record.inputs.items() if role.startswith("prediction")}
    confusion = record.checks.get("confusion")
    # Masks of one grid that hold nothing are equal by nature.
    return record.inputs.get("reference") in own and (confusion is None or bool(np.asarray(confusion)[1:].any()))


def _how_predicted(settings: Any) -> Any:
    """Settings of a prediction, less how its reference was read."""
    if not isinstance(settings, Mapping):
        return settings
    return sorted((name, value) for name, value in settings.items() if name != "coding")


def _identical(confusion: Any) -> bool:
    """Whether prediction and reference agree in every voxel and hold a tumour."""
    counts = np.asarray(confusion if confusion is not None else [[0]])
    return bool(counts.sum() == np.trace(counts) and counts[1:].sum() > 0)
