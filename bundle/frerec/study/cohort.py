"""Who is in the study: real cases by split, synthetic cases, and the subsets a run works with."""

from __future__ import annotations

import os
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from frerec.errors import ConfigError, InputError

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Case:
    """One image of the study.

    Args:
        image: path of the file.
        label: class number.
        patient: who it shows; the path itself where patients are not known.
        part: ``train``, ``val``, ``test`` or ``synthetic``.
    """

    image: str
    label: int
    patient: str
    part: str


@dataclass(frozen=True)
class Cohort:
    """Real and synthetic cases under one set of class names; made by :func:`read_cohort`."""

    classes: tuple[str, ...]
    train: tuple[Case, ...]
    val: tuple[Case, ...]
    test: tuple[Case, ...]
    synthetic: tuple[Case, ...]


def read_cohort(
    real: Iterable[Mapping[str, Any]],
    synthetic: Iterable[Mapping[str, Any]] | None = None,
    classes: Sequence[str] | None = None,
    judged_on: str = "test",
) -> Cohort:
    """Check and sort the rows of the datalists.

    Args:
        real: rows with ``image`` (path), ``label``, ``split`` (train, val or test) and, where known, ``patient``.
        synthetic: rows with ``image`` and ``label``; None if no arm needs them.
        classes: names of the classes in the order of their numbers; None for those of the real rows, sorted.
        judged_on: ``test``; or ``val``, to put the validation cases in the place of the test cases, whose rows are left
            out, whatever is in them.

    Returns:
        The cohort, in the order of the rows.

    Raises:
        ConfigError: a missing or unknown label, a split without one of the classes, or a patient in two splits.
    """
    splits = SPLITS[:-1] if judged_on == "val" else SPLITS
    rows = [row for row in real if row.get("split") in splits or row.get("split") not in SPLITS]
    names = tuple(classes) if classes else tuple(sorted({str(row["label"]) for row in rows if row.get("label")}))
    if len(names) < 2:
        raise ConfigError("datalist", list(names), "a classifier needs two classes", "Give each row a label")
    cases = {
        split: tuple(_case(row, names, split, "datalist") for row in rows if row.get("split") == split)
        for split in splits
    }
    for split, members in cases.items():
        missing = sorted(set(range(len(names))) - {case.label for case in members})
        if missing:
            raise ConfigError(
                "datalist", split, f"no image of class {names[missing[0]]!r} in this split",
                f"Give the split column the values {', '.join(splits)}, each with all classes",
            )  # fmt: skip
    where: defaultdict[str, set[str]] = defaultdict(set)
    for case in (case for members in cases.values() for case in members):
        where[case.patient].add(case.part)
    shared = sum(len(parts) > 1 for parts in where.values())
    if shared:
        raise ConfigError(
            "datalist", f"{shared} patients", "they have images in more than one split, so the test would be flattered",
            "Split by patient",
        )  # fmt: skip
    made = tuple(_case(row, names, "synthetic", "synthetic_datalist") for row in synthetic or ())
    return Cohort(names, cases["train"], cases["val"], cases[judged_on], made)


def _case(row: Mapping[str, Any], names: tuple[str, ...], part: str, config_id: str) -> Case:
    label = str(row.get("label"))
    if label not in names:
        raise ConfigError(
            config_id, row.get("label"), f"label of {row['image']} is none of {', '.join(names)}",
            "Correct the label, or name the sub-folders of synthetic images after the classes",
        )  # fmt: skip
    patient = row.get("patient") if part != "synthetic" else None
    return Case(str(row["image"]), names.index(label), str(patient or row["image"]), part)


def _rng(seed: int, purpose: str) -> np.random.Generator:
    return np.random.default_rng([seed, zlib.crc32(purpose.encode())])


def labelled_subset(
    cases: Sequence[Case], fraction: float | Mapping[int, float], seed: int, config_id: str = "label_fractions"
) -> list[Case]:
    """A stratified random part of the cases, by whole patients.

    Args:
        cases: training (or validation) cases.
        fraction: share of each class to keep, in (0, 1]; or that of each class, 1 for those not named.
        seed: equal seeds give equal subsets.
        config_id: what ``fraction`` is called in an error.

    Returns:
        Kept cases in their original order: for each class about ``fraction`` of its images, and at least one.

    Raises:
        ConfigError: ``fraction`` is not in (0, 1].
    """
    shares = dict(fraction) if isinstance(fraction, Mapping) else dict.fromkeys({c.label for c in cases}, fraction)
    for share in shares.values():
        if not 0 < share <= 1:
            raise ConfigError(config_id, share, "not a share", "Use numbers above 0 and up to 1")
    if all(share == 1 for share in shares.values()):
        return list(cases)
    patients: defaultdict[str, Counter[int]] = defaultdict(Counter)
    for case in cases:
        patients[case.patient][case.label] += 1
    counts = Counter(case.label for case in cases)
    quota = {label: max(1, round(shares.get(label, 1.0) * n)) for label, n in counts.items()}
    names = sorted(patients)
    order = [names[i] for i in _rng(seed, "labels").permutation(len(names))]
    kept: set[str] = set()
    taken: Counter[int] = Counter()
    for patient in order:
        # A patient whose images would overfill a class is passed over, so that the fraction stays what it says.
        if all(taken[label] + n <= quota[label] for label, n in patients[patient].items()):
            kept.add(patient)
            taken += patients[patient]
    for label in sorted(quota):
        if not taken[label]:
            smallest = min((p for p in order if patients[p][label]), key=lambda p: patients[p].total())
            kept.add(smallest)
            taken += patients[smallest]
    return [case for case in cases if case.patient in kept]


def synthetic_subset(
    cases: Sequence[Case], wanted: Mapping[int, int], seed: int, setting: tuple[str, str | float] = ("fill", "balance")
) -> list[Case]:
    """Synthetic cases to go with real ones.

    Args:
        cases: all synthetic cases.
        wanted: how many of each class.
        seed: equal seeds give equal subsets in every arm.
        setting: config id and value that the numbers come from, for an error.

    Returns:
        Chosen cases, in the order of ``cases``.

    Raises:
        ConfigError: there are too few synthetic images of a class.
    """
    chosen: set[str] = set()
    for label, count in sorted(wanted.items()):
        pool = sorted(case.image for case in cases if case.label == label)
        if count > len(pool):
            name, value = setting
            less = "a number" if isinstance(value, str) else f"up to {int(100 * value * len(pool) / count) / 100}"
            raise ConfigError(
                name, value, f"asks for {count} synthetic images of class {label}, there are {len(pool)}",
                f"Generate more, or use {less}",
            )  # fmt: skip
        chosen.update(pool[i] for i in _rng(seed, f"synthetic {label}").permutation(len(pool))[:count])
    return [case for case in cases if case.image in chosen]


def replaced_folder(cases: Sequence[Case], original: str, replacement: str) -> list[Case]:
    """The same cases with their files taken from another folder of the same layout.

    Args:
        cases: cases whose images lie below ``original``.
        original: the folder that relative names start from.
        replacement: a folder that mirrors it, as written by the inference workflow. A file may have another suffix.

    Raises:
        InputError: a file is missing in ``replacement``.
        ConfigError: an image does not lie below ``original``.
    """
    target = Path(replacement).resolve()
    result, missing = [], []
    for case in cases:
        # links are part of the layout, unless it is only through them that the image lies in the folder
        base, path = (Path(os.path.normpath(Path(name).absolute())) for name in (original, case.image))
        if base not in path.parents:
            base, path = base.resolve(), path.resolve()
        if base not in path.parents:
            raise ConfigError(
                "synthetic_dir", original, f"{path} does not lie below it, so its recalibrated copy cannot be found",
                "Set it to the folder that was given to inference as dataset_dir",
            )  # fmt: skip
        mirrored = target / path.relative_to(base)
        others = [mirrored] if mirrored.exists() else sorted(mirrored.parent.glob(f"{mirrored.stem}.*"))
        others = [path for path in others if path.suffix != ".json"]
        if not others:
            missing.append(mirrored)
            continue
        result.append(Case(str(others[0]), case.label, case.patient, case.part))
    if missing:
        raise InputError(
            missing[0], f"this and {len(missing) - 1} other images have no counterpart in the recalibrated folder",
            "Let inference finish on the whole folder",
        )  # fmt: skip
    return result
