"""Figures first, then short runs by successive halving, then a recommendation; all of it resumable."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import Any

import numpy as np

from frerec.errors import ConfigError
from frerec.files import atomic_write
from frerec.report.tables import write_json
from frerec.study.cohort import Case
from frerec.study.records import Record, Run, by_cell, digest, read_records, write_record
from frerec.study.results import case_weights
from frerec.study.runner import DownstreamStudy
from frerec.study.statistics import replicate
from frerec.tune.candidates import AS_THEY_ARE, IMAGES, NOT_ADDED, Candidate
from frerec.tune.decision import Decision, decide
from frerec.tune.figures import Figures, Looks, shortlist, worst
from frerec.tune.page import tuning_page

logger = logging.getLogger("frerec.tune")

#: Seeds of the first round; each further round doubles them.
FIRST_SEEDS = 2


class Tuner:
    """Chooses what to do with generated images, on the validation split.

    Every figure and every run is a file below ``output_dir``, and the budget counts the seconds that these files tell:
    the same command again does nothing new, and a larger budget goes on where the smaller one ended.

    Args:
        study: makes the study when given its ``arms``; judged on ``val``, of one classifier and one share of a rare
            class.
        candidates: recalibrations to choose among, see :func:`frerec.tune.candidates.make_candidates`.
        recalibration: settings of :meth:`frerec.recalibrate.Recalibrate.from_bundle` that they have in common.
        recalibrate: whose images are recalibrated, of :data:`frerec.tune.candidates.IMAGES`.
        keep: how many recalibrations are trained for.
        figure_images: at most so many images of each class, real and synthetic, for the figures.
        budget_minutes: time that figures and runs may take together; looked at between runs.

    Raises:
        ConfigError, InputError: a setting or file that cannot be used, before anything is computed.
    """

    def __init__(
        self,
        study: Callable[..., DownstreamStudy],
        candidates: Sequence[Candidate],
        recalibration: Mapping[str, Any],
        recalibrate: Sequence[str] = IMAGES,
        keep: int = 3,
        figure_images: int = 100,
        budget_minutes: float = 30.0,
    ) -> None:
        unknown = [whose for whose in recalibrate if whose not in IMAGES]
        if unknown or not recalibrate:
            raise ConfigError("recalibrate", list(recalibrate), "whose images", f"Choose from {', '.join(IMAGES)}")
        self.recalibration, self.keep = dict(recalibration), keep
        self.figure_images, self.budget = figure_images, 60 * float(budget_minutes)
        self.measured = list(candidates)
        trained = [c.everything if whose == "all" else c for c in self.measured for whose in dict.fromkeys(recalibrate)]
        self.candidates = {c.name: c for c in (NOT_ADDED, AS_THEY_ARE, *trained)}
        arms = {c.name: c.arm(self.recalibration) for c in (*self.candidates.values(), *self.measured)}
        self.study = study(arms=list(arms.values()))
        cells = {run.cell for run in self.study.plan}
        if len(cells) != 1:
            raise ConfigError(
                "rare_fraction", [str(cell) for cell in cells], "a recommendation is for one of these",
                "Give one classifier and one number",
            )  # fmt: skip
        self.folder, self.spent = self.study.output_dir, 0.0
        self.seeds = list(dict.fromkeys(run.seed for run in self.study.plan))
        if self.study.overwrite:
            runs = (self.folder / "runs" / run.file_name for run in self.study.plan)
            for path in (*self._figure_files().values(), *runs):
                path.unlink(missing_ok=True)

    def run(self) -> dict[str, Any]:
        """Do what is left to do within the budget and recommend.

        Returns:
            The content of metrics.json.

        Raises:
            ConfigError: the budget ended before all candidates could be compared.
        """
        files = self._figure_files()
        figures = {}
        for number, (name, path) in enumerate(files.items(), 1):
            figures[name] = self._figures(name, path, f"{number} of {len(files)}")
        own = {candidate.name: figures[candidate.name] for candidate in self.measured}
        kept, left_out = shortlist(own, figures[AS_THEY_ARE.name], self.keep)
        tried = [c for c in self.candidates.values() if c.stage and c.name.removesuffix(" all") in kept]
        records, finalists = self._halve(tried)
        decision = decide({c: self._replicates(records, c) for c in finalists})
        return self._tell(decision, figures, left_out, records)

    def _halve(self, tried: list[Candidate]) -> tuple[list[Record], list[Candidate]]:
        """Runs in rounds of twice as many seeds, each for the better half; all records, and who is left."""
        alive = tried
        rounds = list(_rounds(len(self.seeds)))
        sizes = [len(tried)]
        for _ in rounds[1:]:
            sizes.append(-(-sizes[-1] // 2))
        before = (0, *rounds)
        total = sum((2 + n) * (after - start) for n, start, after in zip(sizes, before, rounds, strict=False))
        records: dict[Run, Record] = {}
        for number, count in enumerate(rounds):
            names = [c.name for c in (NOT_ADDED, AS_THEY_ARE, *alive)]
            planned = [run for run in self.study.plan if run.arm in names and run.seed in self.seeds[:count]]
            wanted = [run for run in planned if run not in records]
            whole = self._finish(wanted, records, total)
            if number == 0 and not whole:
                raise self._too_short(len(records), len(wanted))
            if not whole or number == len(rounds) - 1:
                break
            found = {c: self._replicates(list(records.values()), c).per_seed.mean() for c in alive}
            alive = sorted(alive, key=lambda c: (-found[c], c.effort, c.name))[: sizes[number + 1]]
        return list(records.values()), [NOT_ADDED, AS_THEY_ARE, *alive]

    def _finish(self, wanted: Sequence[Run], records: dict[Run, Record], total: int) -> bool:
        """Read or do runs as far as the budget goes, into ``records``; whether all are done."""
        finished = read_records(self.folder / "runs", wanted)
        for run in wanted:
            record = finished.get(run)
            if record is None:
                if self.spent + _seconds_a_run(records.values()) > self.budget:
                    logger.info("the budget ends here, after %d runs", len(records))
                    return False
                record = self.study.train(run)
                write_record(self.folder / "runs", record)
                seconds = record.details["seconds"]
                each = _seconds_a_run((*records.values(), record))
                left = min(each * (total - len(records) - 1), self.budget - self.spent - seconds)
                logger.info(
                    "run %d of %d: %s, seed %d: validation AUC %.3f, %.0f s; about %s left", len(records) + 1, total,
                    run.arm, run.seed, record.details["val_auc"], seconds,
                    timedelta(minutes=round(max(left, 0) / 60)),
                )  # fmt: skip
            records[run] = record
            self.spent += float(record.details["seconds"])
        return True

    def _too_short(self, done: int, needed: int) -> ConfigError:
        each = (self.spent / 60) / done if done else 0.0
        more = f"Give at least {math.ceil(round(self.spent / 60 + each * (needed - done), 2))}" if done else "Give more"
        return ConfigError(
            "budget_minutes", self.budget / 60, f"it ended after {done} of the {needed} runs of a first comparison",
            f"{more}; the same command goes on where it was",
        )  # fmt: skip

    def _replicates(self, records: Sequence[Record], candidate: Candidate) -> Any:
        arms = by_cell(records)[self.study.plan[0].cell]
        weights = case_weights(records[0], self.study.draws)
        predictions = {seed: record.predictions for seed, record in arms[candidate.name].items()}
        return replicate(predictions, weights, len(set(records[0].units.tolist())))

    def _labels(self) -> list[int]:
        """Classes whose synthetic images are added."""
        rare = self.study.rare
        whole = rare.name is None or rare.fill_classes == "all"
        return list(range(len(self.study.cohort.classes))) if whole else [rare.label(self.study.cohort)]

    def _some(self, cases: Sequence[Case], label: int) -> list[Case]:
        """Cases of a class, evenly from all of them."""
        own = [case for case in cases if case.label == label]
        count = min(len(own), self.figure_images)
        return [own[i * len(own) // count] for i in range(count)]

    def _figure_files(self) -> dict[str, Any]:
        keys = {
            c.name: digest([1, self.study.data_keys[c.name], self._labels(), self.figure_images])[:12]
            for c in (AS_THEY_ARE, *self.measured)
        }
        return {name: self.folder / "figures" / f"{name.replace(' ', '_')}-{key}.json" for name, key in keys.items()}

    def _figures(self, name: str, path: Any, place: str) -> Figures:
        """Figures of one candidate, from their file where they are known."""
        if not path.is_file():
            if self.spent > self.budget:
                raise self._too_short(0, FIRST_SEEDS * (2 + self.keep))
            began, found = time.monotonic(), []
            for label in self._labels():
                cohort = self.study.cohort
                real, made = self._some(cohort.train, label), self._some(cohort.synthetic, label)
                if not made:
                    raise ConfigError(
                        "synthetic_dir", None, f"no synthetic image of class {cohort.classes[label]!r}",
                        "Name the sub-folders after the classes, or give synthetic_datalist",
                    )  # fmt: skip
                looks = Looks(self.study.cache.images(real), [case.patient for case in real])
                own = Looks(self.study.cache.images(made, self.study.arms[name].synthetic))
                found.append(own.against(looks, self.study.cache.images(made)))
            figures = worst(found)
            seconds = round(time.monotonic() - began, 1)
            write_json(path, {**asdict(figures), "seconds": seconds})
            told = figures.detector, figures.gap, seconds
            logger.info("figures %s: %s, detector %.2f, gap %.2f, %.0f s", place, name, *told)
        content = json.loads(path.read_text(encoding="utf-8"))
        self.spent += content.pop("seconds")
        # JSON has no infinity
        return Figures(**{**content, "psnr": float("inf") if content["psnr"] is None else content["psnr"]})

    def _tell(
        self, decision: Decision, figures: Mapping[str, Figures], left_out: Mapping[str, str], records: Sequence[Record]
    ) -> dict[str, Any]:
        """Write tuned.json, metrics.json and report.html."""
        arms = by_cell(records)[self.study.plan[0].cell]
        chosen, found = decision.chosen, {name: self._replicates(records, self.candidates[name]) for name in arms}
        summary = {
            "answer": {
                "add": chosen.adds, "recalibrate": "none" if not chosen.stage else IMAGES[chosen.all_images],
                "candidate": chosen.name, "best": decision.best.name, "sure": decision.sure, "seeds": decision.seeds,
            },
            "overrides": {"channels": self.study.channels, **chosen.overrides(self.recalibration)},
            "against": {name: asdict(estimate) for name, estimate in decision.against.items()},
            "figures": {name: {**asdict(f), "left_out": left_out.get(name)} for name, f in figures.items()},
            "runs": {
                name: {**asdict(values.estimate((0, 1))), "seeds": len(values.seeds),
                       "minus_RAW": asdict((values - found[NOT_ADDED.name]).estimate())}
                for name, values in found.items()
            },
            "cell": asdict(self.study.plan[0].cell), "classes": list(self.study.cohort.classes),
            "image_size": list(self.study.size), "validation_images": len(self.study.cohort.test),
            "synthetic_images": records[-1].details["n_synthetic"] or records[0].details["n_synthetic"],
            "files": sorted(record.run.file_name for record in records),
            "budget_minutes": self.budget / 60, "spent_minutes": round(self.spent / 60, 2),
        }  # fmt: skip
        write_json(self.folder / "tuned.json", summary["overrides"])
        write_json(self.folder / "metrics.json", summary)
        with atomic_write(self.folder / "report.html", "w") as stream:
            stream.write(tuning_page(summary))
        logger.info("recommended: %s (%s); see %s", chosen.name, decision.sure, self.folder / "report.html")
        return summary


def _seconds_a_run(records: Collection[Record]) -> float:
    return float(np.mean([record.details["seconds"] for record in records])) if records else 0.0


def _rounds(seeds: int) -> Iterator[int]:
    """How many seeds each round ends with."""
    count = min(FIRST_SEEDS, seeds)
    while count < seeds:
        yield count
        count = min(2 * count, seeds)
    yield count


def run_tuning(tuner: Callable[[], Tuner]) -> dict[str, Any]:
    """Make and run a tuner as the last step of a workflow.

    Args:
        tuner: makes it (a component with ``"_mode_": "callable"``).

    Returns:
        The content of metrics.json.

    Raises:
        ConfigError, InputError: a setting or file that cannot be used, or a budget too short for any answer.
    """
    return tuner().run()
