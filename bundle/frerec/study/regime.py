"""Which real and synthetic images a run trains and validates on: a share of all classes, or one class made rare."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from frerec.errors import ConfigError
from frerec.study.arms import Arm
from frerec.study.cohort import Case, Cohort, labelled_subset, synthetic_subset
from frerec.study.records import Cell


def label_parts(fractions: Sequence[float], ratio: float | Sequence[float]) -> list[tuple[float, float]]:
    """Label fractions, each with its synthetic ratio.

    Raises:
        ConfigError: not as many ratios as fractions.
    """
    ratios = [float(r) for r in ([ratio] * len(fractions) if isinstance(ratio, int | float) else ratio)]
    if len(ratios) != len(fractions):
        raise ConfigError(
            "synthetic_ratio", ratios, f"not as many as the {len(fractions)} label_fractions",
            "Give one number for all, or one for each fraction",
        )  # fmt: skip
    return list(zip(map(float, fractions), ratios, strict=True))


@dataclass(frozen=True)
class RareClass:
    """One class is cut down and filled up with synthetic images; the subset is drawn anew with each seed.

    Args:
        name: of the class; None for a study of all classes alike.
        fractions: shares of its real training images that are left.
        fill: synthetic images of it: ``balance`` for as many as bring it to the size of the largest other class, a
            number for that many times its real images in use.
        fill_classes: ``rare`` adds synthetic images of the rare class only, ``all`` as many of every class.
        validation: make the class as rare in the validation set.

    Raises:
        ConfigError: a value out of range.
    """

    name: str | None = None
    fractions: Sequence[float] = (0.1,)
    fill: str | float = "balance"
    fill_classes: str = "rare"
    validation: bool = False

    def __post_init__(self) -> None:
        if self.fill_classes not in ("rare", "all"):
            raise ConfigError("fill_classes", self.fill_classes, "unknown", "Use rare or all")
        number = isinstance(self.fill, int | float) and not isinstance(self.fill, bool) and self.fill > 0
        if self.fill != "balance" and not number:
            raise ConfigError(
                "fill", self.fill, "neither balance nor a number above 0",
                "Use balance, or the number of synthetic images per real one of the rare class",
            )  # fmt: skip
        for fraction in self.fractions:
            if not 0 < fraction <= 1:
                raise ConfigError("rare_fraction", fraction, "not a share", "Use numbers above 0 and up to 1")

    def cells(self, classifier: str, parts: Sequence[tuple[float, float]]) -> list[Cell]:
        """Circumstances to study: each ``(label fraction, synthetic ratio)``, or each share of the rare class."""
        if self.name is None:
            return [Cell(classifier, *part) for part in parts]
        return [
            Cell(classifier, label_fraction, 0.0, self.name, float(fraction))
            for label_fraction, _ in parts
            for fraction in self.fractions
        ]

    def key(self, arm: Arm, cell: Cell) -> list[object]:
        """What of the cell and these settings decides a run of an arm; others share their runs."""
        if self.name is None:
            return [cell.label_fraction, cell.synthetic_ratio if arm.uses_synthetic else None]
        fraction = None if arm.uses_all_real and not self.validation else cell.rare_fraction
        filled = [self.fill, arm.fill_classes or self.fill_classes] if arm.uses_synthetic else None
        return [cell.label_fraction, self.name, fraction, filled, self.validation]

    def training_cases(
        self, cohort: Cohort, synthetic: Sequence[Case], arm: Arm, cell: Cell, seed: int
    ) -> tuple[list[Case], list[Case]]:
        """Real and synthetic training cases of a run; the same of equal seeds in all arms."""
        real = labelled_subset(cohort.train, cell.label_fraction, seed)
        if self.name is None:
            counts = Counter(case.label for case in real)
            if arm.uses_synthetic and not cell.synthetic_ratio > 0:
                raise ConfigError(
                    "synthetic_ratio", cell.synthetic_ratio, "not positive",
                    "Use the number of synthetic images per real one",
                )  # fmt: skip
            wanted = {label: round(cell.synthetic_ratio * count) for label, count in counts.items()}
            setting = ("synthetic_ratio", cell.synthetic_ratio)
            return real, synthetic_subset(synthetic, wanted, seed, setting) if arm.uses_synthetic else []
        if arm.uses_all_real:
            return real, []
        rare = self.label(cohort)
        real = labelled_subset(real, {rare: cell.rare_fraction}, seed, "rare_fraction")
        if not arm.uses_synthetic:
            return real, []
        counts = Counter(case.label for case in real)
        if self.fill == "balance":
            missing = max(count for label, count in counts.items() if label != rare) - counts[rare]
        else:
            missing = round(float(self.fill) * counts[rare])
        everything = (arm.fill_classes or self.fill_classes) == "all"
        wanted = {label: max(missing, 0) for label in counts if everything or label == rare}
        return real, synthetic_subset(synthetic, wanted, seed, ("fill", self.fill))

    def validation_cases(self, cohort: Cohort, cell: Cell, seed: int) -> list[Case]:
        """Validation cases of a run."""
        if self.name is None or not self.validation:
            return list(cohort.val)
        return labelled_subset(cohort.val, {self.label(cohort): cell.rare_fraction}, seed, "rare_fraction")

    def label(self, cohort: Cohort) -> int:
        """Number of the rare class.

        Raises:
            ConfigError: there is no such class.
        """
        if self.name not in cohort.classes:
            raise ConfigError("rare_class", self.name, "no such class", f"Use one of {', '.join(cohort.classes)}")
        return cohort.classes.index(self.name)

    def positive(self, cohort: Cohort) -> int | None:
        """The class that is looked for: the rare one, the second of two, else none."""
        if self.name is not None:
            return self.label(cohort)
        return 1 if len(cohort.classes) == 2 else None
