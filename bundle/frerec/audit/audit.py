"""The audit as an ignite handler: collects while the evaluator runs, measures and writes when it is done."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events

from frerec.audit.collector import BankSpectra, CollectorSettings, GroupCollector
from frerec.audit.comparison import ComparisonSettings, chance, compare, spectrum_bands
from frerec.audit.copies import search_copies
from frerec.audit.dataset import UNREADABLE, AuditDataset
from frerec.audit.features import FeatureNetwork
from frerec.audit.groups import COMPARISONS, GROUPS, USES
from frerec.audit.pictures import closest_pairs, example_strip
from frerec.audit.report import write_report
from frerec.audit.rows import COLUMNS, metrics_rows
from frerec.audit.verdict import verdicts
from frerec.errors import EXIT_NOTHING_DONE, EXIT_SOME_FAILED, ConfigError, InputError
from frerec.report.tables import write_csv, write_json
from frerec.shr.bank.reference import ReferenceBank
from frerec.shr.statistics import content_hash
from frerec.spectrum.bands import default_rings
from frerec.spectrum.power import ring_frequencies

logger = logging.getLogger(__name__)


class AuditHandler:
    """Measures the groups of an audit and writes ``metrics.json``, ``metrics.csv``, ``report.html``, ``strip.png``.

    Attach it to a :class:`monai.engines.SupervisedEvaluator` whose loader yields
    :func:`frerec.audit.dataset.collate_audit` batches and whose network gives features.

    Args:
        dataset: the images.
        network: the feature network, for its description.
        output_dir: where the files go.
        mask_ratio: where the high band begins, in fractions of Nyquist.
        spatial_dims: 2 or 3.
        n_rings: rings of the radial spectra; None for as many as the smaller of the first real and the first synthetic
            image has frequency steps, at most 256.
        bank_path: reference bank whose spectra stand for the real images where the audit has none (a sample of 4096
            of a larger bank), and which no output may be a copy of; passed over where there is no such file.
        cnn_steps: training steps of each convolutional detector; 0 leaves them out.
        cnn_images: most images a group they see; 0 leaves them out.
        examples: rows of the picture strip.
        draws: bootstrap samples of every interval.
        device: where the convolutional detectors train.
        seed: seed of every random choice.
        settings: what the user set, for the report and the command that repeats it.
    """

    def __init__(
        self,
        dataset: AuditDataset,
        network: FeatureNetwork,
        output_dir: str,
        mask_ratio: float = 0.1,
        spatial_dims: int = 2,
        n_rings: int | None = None,
        bank_path: str | None = None,
        cnn_steps: int = 600,
        cnn_images: int = 300,
        examples: int = 4,
        draws: int = 1000,
        device: str = "cpu",
        seed: int = 0,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.dataset = dataset
        self.network = network
        self.output_dir = Path(output_dir)
        self.settings = dict(settings or {})
        self.total = len(dataset.data)
        self.comparing = ComparisonSettings(mask_ratio, spatial_dims, draws, cnn_steps, str(device), seed)
        self.bank = ReferenceBank.open(bank_path) if bank_path and Path(bank_path).is_file() else None
        self.bank_hits: dict[str, list[str]] = {"synthetic": [], "recalibrated": []}
        self.real_of_bank = None
        if not any(item["group"] == "real" for item in dataset.data):
            if self.bank is None:
                raise ConfigError(
                    "bank_path", bank_path, "neither real images nor a bank to hold the synthetic ones against",
                    "Set real_dir, datalist or bank_path",
                )  # fmt: skip
            self.real_of_bank, n_rings = BankSpectra(self.bank.profiles_of(self.bank.sample)), self.bank.info.n_rings
        n_rings = _common_rings(dataset) if n_rings is None else n_rings
        collecting = CollectorSettings(spatial_dims, n_rings, cnn_images=cnn_images, seed=seed)
        chosen = _example_names(dataset.data, examples)
        self.groups = {name: GroupCollector(name, collecting, chosen) for name in GROUPS}
        self.errors: list[dict[str, str]] = []
        self.done = 0
        self.started = 0.0
        self.result: dict[str, Any] = {}

    def attach(self, engine: Engine) -> None:
        """Register with an evaluator."""
        engine.add_event_handler(Events.STARTED, self.start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.update)
        engine.add_event_handler(Events.COMPLETED, self.finish)

    def start(self, engine: Engine) -> None:
        """Note when the run began, for the estimate of the time left."""
        self.started = time.monotonic()
        logger.info("audit: %d images", self.total)

    def update(self, engine: Engine) -> None:
        """Take in one batch and tell how far the run is."""
        batch: Any = engine.state.batch
        output: Any = engine.state.output
        for item, vector in zip(batch["items"], output["pred"], strict=True):
            self.groups[item["group"]].add(item, vector)
            hits = None if self.bank is None else self.bank_hits.get(item["group"])
            if hits is not None and self.bank is not None and len(self.bank.rows_of(content_hash(item["pixels"]))):
                hits.append(item["image"])
        for item in batch["errors"]:
            self.errors.append({"image": item["image"], "group": item["group"], "reason": item["error"]})
            logger.error("skipped: %s", item["error"])
        before = self.done
        self.done += len(batch["items"]) + len(batch["errors"])
        step = max(self.total // 10, 1)
        if self.done // step > before // step:
            left = (time.monotonic() - self.started) / self.done * (self.total - self.done)
            logger.info("audit: read %d/%d images, about %.0f s left", self.done, self.total, left)

    def finish(self, engine: Engine) -> None:
        """Compare the groups and write the results.

        Raises:
            SystemExit: with :data:`EXIT_NOTHING_DONE` where a side has no readable image.
        """
        try:
            result = self.measure()
        except InputError as error:
            logger.error("nothing could be done: %s", error)
            raise SystemExit(EXIT_NOTHING_DONE) from error
        result["verdicts"] = [verdict.asdict() for verdict in verdicts(result)]
        self.output_dir.mkdir(parents=True, exist_ok=True)
        write_json(self.output_dir / "metrics.json", result)
        write_csv(self.output_dir / "metrics.csv", COLUMNS, metrics_rows(result))
        strip = example_strip(self.groups, self.comparing.mask_ratio)
        write_report(self.output_dir, result, strip, closest_pairs(result["copies"], self.dataset))
        self.result = result
        engine.state.metrics.update({f"{r['comparison']}/{r['measure']}": r["value"] for r in metrics_rows(result)})
        for verdict in result["verdicts"]:
            logger.info("%s %s %s", verdict["question"], verdict["answer"].upper() + ".", verdict["sentence"])
        logger.info("audit: wrote %s", self.output_dir / "report.html")

    def measure(self) -> dict[str, Any]:
        """Everything measured, as nested dicts; maps and copy-check vectors are tensors.

        Raises:
            InputError: no readable image in the synthetic group, or in the real one.
        """
        for name in ("synthetic", "real"):
            if not self._group(name):
                reasons = [error["reason"] for error in self.errors if error["group"] == name]
                raise InputError(
                    self.settings.get(f"{name}_dir") or name,
                    f"none of its {len(reasons)} images could be read, for example: {reasons[0] if reasons else '-'}",
                    f"Set {name}_dir to a folder of readable images",
                )
        comparisons: dict[str, dict[str, Any]] = {}
        for name, judged, reference in COMPARISONS:
            if self._group(judged) and self._group(reference):
                logger.info("audit: comparing %s with %s", judged, reference)
                # what recalibration does to real images is a matter of fidelity, and the networks take most of the time
                cnn = name != "change_of_real"
                comparisons[name] = compare(self._group(judged), self._group(reference), self.comparing, cnn)
                comparisons[name]["use"] = USES.get(name)
        logger.info("audit: comparing real with real images")
        floor = chance(self._group("real"), self.groups["training"], self.comparing)
        if floor:
            comparisons["floor"] = floor
        spectra = {g: spectrum_bands(self._group(g).radial()) for g in GROUPS[:4] if self._group(g)}
        rings = len(next(iter(spectra.values()))["mean"])
        return {
            "groups": {name: len(self._group(name)) for name in GROUPS},
            "real_source": "bank" if self.real_of_bank is not None else "images",
            "mask_ratio": self.comparing.mask_ratio,
            "spatial_dims": self.comparing.spatial_dims,
            "frequencies": ring_frequencies(rings, self.comparing.spatial_dims).tolist(),
            "spectra": spectra,
            "comparisons": comparisons,
            "fidelity": {
                side: self.groups[group].fidelity.aggregate()
                for side, group in (("synthetic", "recalibrated"), ("real", "recalibrated_real"))
                if self.groups[group]
            },
            "feature_space": self.network.description,
            "copies": search_copies(self.groups, self.bank, self.bank_hits),
            "skipped": self.errors,
            "settings": self.settings,
        }

    def _group(self, name: str) -> Any:
        return self.real_of_bank if name == "real" and self.real_of_bank is not None else self.groups[name]

    def exit(self) -> None:
        """End the program with a code that tells skipped images, after everything was written.

        Raises:
            SystemExit: with :data:`EXIT_SOME_FAILED` where an image was skipped.
        """
        if self.errors:
            logger.error("audit: %d of %d images were skipped; metrics.json lists them", len(self.errors), self.total)
            raise SystemExit(EXIT_SOME_FAILED)


def _common_rings(dataset: AuditDataset, most: int = 256) -> int:
    """Rings that every image has a frequency for, judged by the first readable image of either side."""
    rings = most
    for group in ("real", "synthetic"):
        for item in dataset.data:
            if item["group"] != group:
                continue
            try:
                rings = min(rings, default_rings(dataset.load(item["image"], item.get("files", ()))[0].shape[1:]))
            except UNREADABLE:
                continue  # the run reports it
            break
    return rings


def _example_names(items: Sequence[dict[str, Any]], count: int) -> list[str]:
    """Names spread over the synthetic and the real images, preferring those that were recalibrated."""
    chosen: list[str] = []
    for source, derived in (("synthetic", "recalibrated"), ("real", "recalibrated_real")):
        names = sorted({i["name"] for i in items if i["group"] == derived})
        names = names or sorted({i["name"] for i in items if i["group"] == source})
        share = count if source == "synthetic" else max(count // 2, 1)
        chosen += [names[(2 * k + 1) * len(names) // (2 * share)] for k in range(min(share, len(names)))]
    return chosen
