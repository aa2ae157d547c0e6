"""The downstream study as one object: plan, run, resume, summarise."""

from __future__ import annotations

import itertools
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch

from frerec.errors import ConfigError
from frerec.files import atomic_write
from frerec.report.tables import write_csv, write_json
from frerec.study.arms import Arm, NeedsReferences, select_arms
from frerec.study.baselines import References
from frerec.study.cache import ImageCache, Transform, fingerprint
from frerec.study.classifiers import CLASSIFIERS, build_classifier, check_classifier
from frerec.study.cohort import Case, read_cohort, replaced_folder
from frerec.study.measures import choose_thresholds
from frerec.study.probe import cases_to_show, shortcut_probe
from frerec.study.records import Cell, Record, Run, digest, read_records, versions, write_record
from frerec.study.regime import RareClass, label_parts
from frerec.study.report import study_page
from frerec.study.results import COLUMNS, rows, summarise
from frerec.study.training import Part, Schedule, Trained, train_classifier

logger = logging.getLogger("frerec.study")


class DownstreamStudy:
    """Trains the same classifiers with the same budget in every arm and compares them on the real test set.

    Each finished run is a file below ``output_dir/runs``, named by its settings and the content of its data: a study
    that was killed, or was given more seeds or arms, goes on where it was. Several processes share the work when each
    is given another ``shard_index``.

    Args:
        cases: rows of the real images: image, label, split (train, val, test), patient where known.
        load: dictionary transform from ``{"image": path}`` to ``image`` as tensor (C, *spatial) in [0, 1].
        arms: the arms there are, see :class:`frerec.study.arms.Arm`.
        output_dir: receives runs/, cache/, results.csv, metrics.json and report.html.
        synthetic_cases: rows of the synthetic images: image, label. Not needed if no arm uses them.
        synthetic_dir: folder that the names in an arm's own ``synthetic_dir`` are relative to.
        arm_names: arms to run, in the order of the tables; None for all.
        reference_arms: arms that all others are compared with.
        classifiers: names, see :data:`frerec.study.classifiers.CLASSIFIERS`.
        label_fractions: shares of the real training images to study.
        synthetic_ratio: synthetic images per real training image in use; a list has one for each label fraction.
        seeds: one run each.
        image_size: side of the images, or their spatial size.
        channels: 1 or 3.
        schedule: training budget; None for the default.
        device: where classifiers are trained.
        overwrite: run again what is finished.
        shard_index: number of this process, from 0.
        shard_count: number of processes that share the work.
        draws: bootstrap resamples.
        rare: one class made rare and filled up with synthetic images, instead of ``synthetic_ratio``.
        judged_on: the split that runs are compared on: ``test``, or ``val``, which leaves the test split alone.

    Raises:
        ConfigError, InputError: a setting or file that cannot be used, before anything is trained.
    """

    def __init__(
        self,
        cases: Iterable[Mapping[str, Any]],
        load: Transform,
        arms: Sequence[Arm],
        output_dir: str | PathLike[str],
        synthetic_cases: Iterable[Mapping[str, Any]] | None = None,
        synthetic_dir: str | None = None,
        arm_names: Sequence[str] | None = None,
        reference_arms: Sequence[str] = ("RAW", "GDA"),
        classifiers: Sequence[str] = ("small_resnet",),
        label_fractions: Sequence[float] = (1.0,),
        synthetic_ratio: float | Sequence[float] = 1.0,
        seeds: Sequence[int] = (0, 1, 2, 3, 4),
        image_size: int | Sequence[int] = 128,
        channels: int = 1,
        schedule: Schedule | None = None,
        device: torch.device | str = "cpu",
        overwrite: bool = False,
        shard_index: int = 0,
        shard_count: int = 1,
        draws: int = 2000,
        rare: RareClass | None = None,
        judged_on: str = "test",
    ) -> None:
        if not 0 <= shard_index < shard_count:
            raise ConfigError("shard_index", shard_index, "no such shard", f"Use 0 to {shard_count - 1}")
        if not seeds:
            raise ConfigError("num_seeds", 0, "no runs", "Use 1 or more, better 5")
        self.arms = {arm.name: arm for arm in select_arms(arms, arm_names)}
        self.size = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
        for name in classifiers:
            check_classifier(name, self.size)
        self.output_dir, self.channels = Path(output_dir), channels
        self.schedule, self.device, self.overwrite = schedule or Schedule(), torch.device(device), overwrite
        self.shard_index, self.shard_count, self.rare = shard_index, shard_count, rare or RareClass()
        self.draws, self.reference_arms = draws, tuple(reference_arms)
        uses_synthetic = any(arm.uses_synthetic for arm in self.arms.values())
        self.cohort = read_cohort(cases, synthetic_cases if uses_synthetic else None, judged_on=judged_on)
        self.cache = ImageCache(self.output_dir / "cache", load, channels, self.size)
        self.synthetic = {name: self._synthetic(arm, synthetic_dir) for name, arm in self.arms.items()}
        self._give_references()
        self.data_keys = {name: self._data_key(arm) for name, arm in self.arms.items()}
        self.test_set = digest([(self.cache.digest(case), case.label) for case in self.cohort.test])
        self._units = np.unique([case.patient for case in self.cohort.test], return_inverse=True)[1]
        # Seeds outermost and arms innermost: whenever the study is stopped, the arms have about the same seeds.
        parts = label_parts(label_fractions, synthetic_ratio)
        cells = [cell for classifier in classifiers for cell in self.rare.cells(classifier, parts)]
        self.plan = [
            self._planned(arm, cell, int(seed)) for seed, cell, arm in itertools.product(seeds, cells, self.arms)
        ]
        for run in self.plan:  # what cannot be drawn is said before anything is trained
            self._training_cases(run)

    def _synthetic(self, arm: Arm, synthetic_dir: str | None) -> list[Case]:
        if not arm.uses_synthetic:
            return []
        if not self.cohort.synthetic:
            raise ConfigError(
                "synthetic_dir", synthetic_dir, f"arm {arm.name} needs synthetic images and there are none",
                "Give synthetic_dir or synthetic_datalist, or leave the arm out of arm_names",
            )  # fmt: skip
        cases = list(self.cohort.synthetic)
        return replaced_folder(cases, synthetic_dir or ".", arm.synthetic_dir) if arm.synthetic_dir else cases

    def _give_references(self) -> None:
        train = self.cohort.train
        names = [self.cache.digest(case) for case in train]
        references = References([case.label for case in train], names, lambda: self.cache.images(train))
        for arm in self.arms.values():
            for transform in (arm.synthetic, arm.real):
                if isinstance(transform, NeedsReferences):
                    transform.set_references(references)

    def _data_key(self, arm: Arm) -> str:
        real = [*self.cohort.train, *self.cohort.val, *self.cohort.test]
        return digest(
            {
                "classes": self.cohort.classes,
                "real": [(self.cache.digest(case), case.label, case.part) for case in real],
                "patients": digest([case.patient for case in real]),
                "synthetic": [(self.cache.digest(case), case.label) for case in self.synthetic[arm.name]],
                "transforms": [self.cache.key(arm.real), self.cache.key(arm.synthetic)],
                "augment": fingerprint(arm.augment),
            }
        )

    def _learning_rate(self, classifier: str) -> float:
        given = self.schedule.learning_rate
        return CLASSIFIERS[classifier][1] if given is None else float(given)

    def _planned(self, arm: str, cell: Cell, seed: int) -> Run:
        settings = {
            "data": self.data_keys[arm],
            "schedule": {**asdict(self.schedule), "learning_rate": self._learning_rate(cell.classifier)},
            # What does not matter to an arm is no part of this, and its runs serve every value.
            "cell": [cell.classifier, *self.rare.key(self.arms[arm], cell)],
            "balanced": self.arms[arm].balanced,
            "seed": seed,
            "version": 2,
        }
        return Run(arm, cell, seed, digest(settings))

    def _training_cases(self, run: Run) -> tuple[list[Case], list[Case]]:
        return self.rare.training_cases(self.cohort, self.synthetic[run.arm], self.arms[run.arm], run.cell, run.seed)

    def _part(self, cases: Sequence[Case], transform: Transform | None, what: str) -> Part:
        last = [time.monotonic()]

        def tell(done: int, total: int) -> None:
            if time.monotonic() - last[0] > 30:
                last[0] = time.monotonic()
                logger.info("preparing %s: %d of %d images", what, done, total)

        start = self.shard_index * len(cases) // self.shard_count
        images = self.cache.images(cases, transform, start, tell)
        return Part(images, torch.tensor([case.label for case in cases]))

    def train(self, run: Run) -> Record:
        """Do one run of the plan, without writing its file."""
        arm, began = self.arms[run.arm], time.monotonic()
        real, made = self._training_cases(run)
        train = self._part(real, arm.real, f"{arm.name}, real training images")
        if made:
            extra = self._part(made, arm.synthetic, f"{arm.name}, synthetic images")
            train = Part(torch.cat([train.images, extra.images]), torch.cat([train.labels, extra.labels]))
        validation = self.rare.validation_cases(self.cohort, run.cell, run.seed)
        val, test = (
            self._part(cases, arm.real, f"{arm.name}, real images") for cases in (validation, self.cohort.test)
        )
        network = build_classifier(
            run.cell.classifier, len(self.size), self.channels, len(self.cohort.classes), self.size, run.seed
        )
        trained = train_classifier(
            network, train, val, test, self.schedule, self._learning_rate(run.cell.classifier), run.seed, self.device,
            arm.augment, arm.balanced,
        )  # fmt: skip
        details = self._details(trained, len(real), len(made), time.monotonic() - began)
        positive = self.rare.positive(self.cohort)
        if positive is not None:
            details["positive"] = positive
            details["thresholds"] = choose_thresholds(trained.val, val.labels.numpy(), positive)
            if made:
                details["probe"] = self._probe(run, trained, train, test, made, positive)
        return Record(run, test.labels.numpy(), self._units, trained.test, self.test_set, details)

    def _probe(
        self, run: Run, trained: Trained, train: Part, test: Part, made: list[Case], positive: int
    ) -> dict[str, float]:
        arm, labels = self.arms[run.arm], train.labels[: len(train.labels) - len(made)]
        chosen = cases_to_show([case for case in self.synthetic[run.arm] if case.label == positive], made)
        shown = self._part(chosen, arm.synthetic, f"{arm.name}, synthetic images")
        real = train.images[: len(labels)][labels == positive]
        return shortcut_probe(trained.predict, test.images, test.labels, real, shown.images, positive)

    def _details(self, trained: Trained, n_real: int, n_synthetic: int, seconds: float) -> dict[str, Any]:
        return {
            "classes": list(self.cohort.classes),
            "n_real": n_real,
            "n_synthetic": n_synthetic,
            "best_step": trained.best_step,
            "val_auc": trained.val_auc,
            "history": trained.history,
            "seconds": round(seconds, 1),
            "schedule": asdict(self.schedule),
            "image_size": list(self.size),
            "channels": self.channels,
            "device": self.device.type,
            "threads": torch.get_num_threads(),
            "versions": versions(),
        }

    def run(self) -> dict[str, Any]:
        """Do what is left of this shard's runs, then summarise whatever is finished by any shard.

        Returns:
            The content of metrics.json.
        """
        folder = self.output_dir / "runs"
        mine = self.plan[self.shard_index :: self.shard_count]
        todo = [run for run in mine if self.overwrite or not (folder / run.file_name).exists()]
        logger.info("%d runs planned, %d for this shard, %d of them to do", len(self.plan), len(mine), len(todo))
        spent: defaultdict[str, list[float]] = defaultdict(list)
        for i, run in enumerate(todo):
            record = self.train(run)
            write_record(folder, record)
            spent[run.cell.classifier].append(float(record.details["seconds"]))
            every = [s for times in spent.values() for s in times]
            left = sum(np.mean(spent.get(other.cell.classifier, every)) for other in todo[i + 1 :])
            logger.info(
                "run %d of %d: %s, %s, seed %d: validation AUC %.3f at step %d, %.0f s; about %s left",
                i + 1, len(todo), run.arm, run.cell, run.seed, record.details["val_auc"], record.details["best_step"],
                record.details["seconds"], timedelta(minutes=round(float(left) / 60)),
            )  # fmt: skip
        return self.summarise()

    def summarise(self) -> dict[str, Any]:
        """Write results.csv, metrics.json and report.html from the runs finished so far, without training.

        Returns:
            The content of metrics.json.
        """
        records = read_records(self.output_dir / "runs", self.plan)
        if not records:
            logger.info("no finished run to summarise yet")
            return {}
        summary = summarise(list(records.values()), self.reference_arms, self.draws)
        summary["runs"]["planned"] = len(self.plan)
        write_csv(self.output_dir / "results.csv", COLUMNS, rows(summary))
        write_json(self.output_dir / "metrics.json", summary)
        with atomic_write(self.output_dir / "report.html", "w") as stream:
            stream.write(study_page(summary))
        return summary


def run_study(study: Callable[[], DownstreamStudy]) -> dict[str, Any]:
    """Make and run a study as the last step of a workflow.

    Args:
        study: makes the study (a component with ``"_mode_": "callable"``).

    Returns:
        The content of metrics.json.

    Raises:
        ConfigError, InputError: a setting or file that cannot be used.
    """
    return study().run()
