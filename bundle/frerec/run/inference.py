"""The folder run of ``inference.json``: the parts that nobody wires otherwise, made from its settings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from monai.inferers import Inferer

from frerec.io.provenance import run_settings
from frerec.io.writer import SaveRecalibratedd
from frerec.rhm.precision import applied_precision
from frerec.run.evaluator import FolderEvaluator
from frerec.run.folder import FolderLoader
from frerec.run.handlers import ManifestHandler, RunReport
from frerec.run.manifest import Manifest
from frerec.run.process import wait_for_others

#: Settings that are recorded as they were given. What SHR and the imposed profile apply, they report themselves.
_RECORDED = (
    "use_network", "spatial_dims", "channels", "intensity_range", "label_maps", "synthetic", "generator",
    "output_format",
)  # fmt: skip


def run_manifest(settings: Mapping[str, Any], reported_by: Iterable[Any] = ()) -> Manifest:
    """The manifest of a run, which holds everything its outputs depend on besides their inputs.

    Args:
        settings: the settings of ``inference.json`` by config id.
        reported_by: transforms that say themselves what they apply, as in :func:`frerec.io.provenance.run_settings`.

    Returns:
        The manifest; its ``settings`` are what was applied.
    """
    used = settings["use_network"]
    applied = run_settings(
        files={"weights": settings["weights_path"] if used else None},
        reported_by=reported_by,
        **{key: settings[key] for key in _RECORDED},
        preset=settings["preset"] if used else None,
        precision=applied_precision(settings["device"], settings["amp"]) if used else None,
        # what holds where no transform reports otherwise
        strength=0,
        impose_profile=False,
    )
    shard = {key: settings[key] for key in ("overwrite", "shard_index", "shard_count")}
    return Manifest(settings["output_dir"], applied, **shard)


def run_saver(settings: Mapping[str, Any], manifest: Manifest) -> SaveRecalibratedd:
    """The saver of a run.

    Args:
        settings: the settings of ``inference.json`` by config id.
        manifest: the run's manifest, for what was applied.

    Returns:
        A transform that writes ``pred`` as a recalibration of ``image``.
    """
    ids = ("output_dir", "synthetic", "generator", "output_format", "overwrite", "verify_output")
    return SaveRecalibratedd("pred", **{key: settings[key] for key in ids}, settings=manifest.settings)


class FolderRun(FolderEvaluator):
    """The evaluator of a whole folder: with a manifest that remembers and a report that tells.

    Args:
        device: where the network runs.
        val_data_loader: loader over a folder dataset.
        network: the recalibrating network, or ``torch.nn.Identity()`` for none.
        saver: as in :class:`~frerec.run.evaluator.FolderEvaluator`.
        manifest: the run's manifest, which names the output folder.
        inferer: how the network is applied; None for a plain call.
        postprocessing: transform of one item's dictionary with ``image`` and ``pred``.
        val_handlers: further handlers with ``attach``, served before those of manifest and report.
    """

    def __init__(
        self,
        device: torch.device | str,
        val_data_loader: FolderLoader,
        network: torch.nn.Module,
        saver: Callable[[dict[Any, Any]], dict[Any, Any]],
        manifest: Manifest,
        inferer: Inferer | None = None,
        postprocessing: Callable[[Any], Any] | None = None,
        val_handlers: Sequence[Any] | None = None,
    ) -> None:
        super().__init__(
            device, val_data_loader, network, str(manifest.output_dir), saver, inferer, postprocessing, val_handlers
        )
        self.report = RunReport(len(val_data_loader.dataset), manifest)  # type: ignore[arg-type]
        ManifestHandler(manifest).attach(self)
        self.report.attach(self)

    def finish(self) -> int:
        """Print the summary, wait for the others if ``torchrun`` started any, and end with the code that says it all.

        Returns:
            0. It returns at all only if every image of this shard is done.

        Raises:
            SystemExit: as :meth:`frerec.run.handlers.RunReport.finish`.
        """
        try:
            return self.report.finish()
        finally:
            wait_for_others()
