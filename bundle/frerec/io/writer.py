"""The saver: recalibrated images back into the format, depth and units they came in, with their provenance."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Transform

from frerec.errors import ConfigError, InputError
from frerec.files import atomic_write
from frerec.io.dicom.capture import captured_dicom
from frerec.io.dicom.writer import derived_dicom
from frerec.io.likeness import DOUBTFUL, REFUSED, combine, unlike
from frerec.io.marks import declared_origin, was_written_by_us
from frerec.io.naming import output_kind, output_path, sidecar_path
from frerec.io.nifti.writer import derived_nifti
from frerec.io.picture.writer import derived_picture
from frerec.io.provenance import Generator, Provenance, canonical_json, plain, split_settings, weights_checksum
from frerec.io.source import Source
from frerec.io.stored import to_stored
from frerec.io.stored_pixels import StoredPixels


class SaveRecalibrated(Transform):
    """Write an image in the format of the file or series it was loaded from.

    DICOM becomes a derived object of the same study; NIfTI keeps its header; PNG and TIFF keep their depth; JPEG and
    BMP become PNG. Values are rounded and clipped to the range the source can store, never wrapped. Files appear whole
    or not at all. All but DICOM get a JSON sidecar (``<name>.json``) with the provenance that is also inside the file.

    Args:
        output_dir: folder that mirrors the input folder.
        weights_path: weights of the network that was applied, named by checksum in the provenance; None or empty if
            there was none.
        synthetic: whether the images are synthetic: True, False, or ``"auto"`` for what each says of itself. An
            image that says it is synthetic stays marked so even with False.
        generator: what made synthetic images: a mapping with ``manufacturer``, ``model``, ``version``, or None.
        output_format: ``"same"``, or ``"dicom"`` to write pictures as DICOM Secondary Capture.
        overwrite: replace whatever lies at an output's place. Without it, earlier outputs of this package are
            replaced, and any other file there is an error. An input file is never overwritten.
        settings: further settings of the run to record beside those that SHR reports.
        verify_output: refuse to write an output that has little to do with its input, see `frerec.io.likeness`;
            False writes it with a warning.

    Raises:
        ConfigError: for unusable arguments.
    """

    def __init__(
        self,
        output_dir: str,
        weights_path: str | None = None,
        synthetic: bool | str = "auto",
        generator: Mapping[str, Any] | Generator | None = None,
        output_format: str = "same",
        overwrite: bool = False,
        settings: Mapping[str, Any] | None = None,
        verify_output: bool = True,
    ) -> None:
        if synthetic not in (True, False, "auto"):
            raise ConfigError("synthetic", synthetic, "not a choice", "Use true, false or auto")
        self.output_dir, self.weights_path = Path(output_dir), weights_path
        self.synthetic, self.generator = synthetic, Generator.from_config(generator)
        self.output_format, self.overwrite = output_format, overwrite
        self.settings, self.verify_output = plain(dict(settings or {})), verify_output

    def __call__(self, img: torch.Tensor | np.ndarray, meta: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Write one image.

        Args:
            img: (C, H, W) or (C, H, W, D) in physical units, real, any device.
            meta: metadata of the loaded image with ``["frerec"]["source"]``; taken from ``img`` if None.

        Returns:
            ``files``: one ``{"path", "sha256"}`` per file, images first; ``warnings``: sentences; ``synthetic``:
            whether the outputs are marked so; ``provenance``: the record; ``likeness``: correlation with the input,
            PSNR over the range in use in dB (None where nothing changed), share of values clipped.

        Raises:
            InputError: if the image holds NaN, or its output cannot or must not be written.
            ConfigError: if the metadata does not come from `frerec.io.loader.LoadMedicalImage`, or the output has
                little to do with the input.
        """
        known = _frerec_meta(meta if meta is not None else getattr(img, "meta", {}))
        source = Source.from_meta(known["source"])
        array = torch.as_tensor(img).detach().cpu().to(torch.float32).numpy()
        warnings: list[str] = []
        provenance = self._provenance(source, known, warnings)
        kind = output_kind(source, self.output_format)
        stored = to_stored(array, source, plain(known.get("normalize")))
        likeness = self._verify(stored, source.details["range"]["robust"], warnings)
        encoded = []
        for position, pixels in enumerate(stored, start=1):
            target = output_path(source, pixels.path, self.output_dir, self.output_format)
            if not self.overwrite and target.exists() and not was_written_by_us(target, kind):
                reason = f"{target} exists and is not an output of this software"
                raise InputError(source.path, reason, "Choose another output_dir, or set overwrite to true")
            encoded.append((target, self._encode(kind, pixels, provenance, position, source, warnings)))
        # Nothing is written before all of a series could be encoded.
        files = [file for target, data in encoded for file in self._write(kind, target, data, provenance)]
        return {
            "files": sorted(files, key=lambda file: file["path"].endswith(".json")),
            "warnings": list(dict.fromkeys(warnings)),
            "synthetic": provenance.synthetic,
            "provenance": provenance.record(),
            "likeness": likeness,
        }

    def _verify(self, stored: Sequence[StoredPixels], used: Sequence[float], warnings: list[str]) -> dict[str, Any]:
        whole = combine(pixels.likeness for pixels in stored)
        reason = unlike(whole, used, REFUSED)
        if reason and self.verify_output:
            text = f"the output has little to do with its input: {reason}"
            remedy = (
                "Look at intensity_range (robust suits most images) and at bank and weights, which must be of such "
                "images; --verify_output False writes it all the same"
            )
            raise ConfigError("verify_output", True, text, remedy)
        doubt = unlike(whole, used, DOUBTFUL)
        if doubt:
            warnings.append(f"it has {'little' if reason else 'less than usual'} to do with its input: {doubt}")
        clipped, psnr = sum(pixels.clipped for pixels in stored), whole.psnr_db(used)
        return {
            "correlation": round(whole.correlation, 4),
            "psnr_db": round(psnr, 2) if math.isfinite(psnr) else None,
            "clipped": round(clipped / max(whole.count, 1), 6),
        }

    def _provenance(self, source: Source, known: Mapping[str, Any], warnings: list[str]) -> Provenance:
        declared, generator = declared_origin(source)
        if declared and self.synthetic is False:
            warnings.append("the input says it is synthetic; its output stays marked so although synthetic=false")
        run, sample = split_settings((known.get("shr") or {}).get("applied"))
        if known.get("normalize"):
            sample["normalize"] = {key: plain(known["normalize"][key]) for key in ("lower", "upper")}
        return Provenance(
            source_name=source.relative_path,
            source_sha256=source.sha256,
            # what a component reports of itself counts
            settings={**run, **{key: value for key, value in self.settings.items() if key not in run}},
            sample=sample,
            weights_sha256=weights_checksum(self.weights_path),
            synthetic=declared or self.synthetic is True,
            generator=self.generator or generator,
        )

    def _encode(
        self,
        kind: str,
        pixels: StoredPixels,
        provenance: Provenance,
        position: int,
        source: Source,
        warnings: list[str],
    ) -> bytes:
        if kind in ("dicom", "dicom-series"):
            data, told = derived_dicom(pixels, provenance, position=position)
            warnings.extend(told)
            return data
        if kind == "capture":
            return captured_dicom(pixels, provenance, lossy_source=source.format == "jpeg")
        if kind == "nifti":
            return derived_nifti(pixels, provenance.record(), compress=pixels.path.name.endswith(".gz"))
        return derived_picture(pixels, provenance.record(), kind=kind)

    def _write(self, kind: str, target: Path, data: bytes, provenance: Provenance) -> list[dict[str, str]]:
        outputs = []
        if kind in ("nifti", "png", "tiff"):
            record = {**provenance.record(), "sha256": hashlib.sha256(data).hexdigest()}
            text = canonical_json(record) + "\n"
            # The sidecar first: whoever sees the image sees its provenance too.
            outputs.append((sidecar_path(target), text.encode("ascii")))
        outputs.append((target, data))
        for path, content in outputs:
            with atomic_write(path) as stream:
                stream.write(content)
        return [{"path": str(path), "sha256": hashlib.sha256(content).hexdigest()} for path, content in outputs]


class SaveRecalibratedd(MapTransform):
    """Dictionary version of `SaveRecalibrated`.

    The report of the last key is left under ``meta["frerec"]["written"]`` of the reference image, and the paths of all
    files under ``saved_key``.

    Args:
        keys: images to write, for example ``"pred"``.
        output_dir: as in `SaveRecalibrated`, like all arguments below that are not explained here.
        reference_key: the loaded image, whose metadata tells where ``keys`` came from; they may have none of their own.
        weights_path: see there.
        synthetic: see there.
        generator: see there.
        output_format: see there.
        overwrite: see there.
        settings: see there.
        verify_output: see there.
        saved_key: key for the list of written paths.
        allow_missing_keys: as in MONAI.
    """

    def __init__(
        self,
        keys: KeysCollection,
        output_dir: str,
        reference_key: str = "image",
        weights_path: str | None = None,
        synthetic: bool | str = "auto",
        generator: Mapping[str, Any] | Generator | None = None,
        output_format: str = "same",
        overwrite: bool = False,
        settings: Mapping[str, Any] | None = None,
        verify_output: bool = True,
        saved_key: str = "saved",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.reference_key, self.saved_key = reference_key, saved_key
        self.saver = SaveRecalibrated(
            output_dir, weights_path, synthetic, generator, output_format, overwrite, settings, verify_output
        )

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Write the images of one item.

        Args:
            data: item with the reference image and the images to write.

        Returns:
            The item, with the paths of the written files added.

        Raises:
            InputError: see `SaveRecalibrated`.
            ConfigError: see `SaveRecalibrated`.
        """
        item = dict(data)
        reference = item.get(self.reference_key)
        meta = reference.meta if isinstance(reference, MetaTensor) else None
        item[self.saved_key] = []
        for key in self.key_iterator(item):
            own = meta if meta is not None else getattr(item[key], "meta", {})
            written = self.saver(item[key], own)
            own["frerec"]["written"] = written
            item[self.saved_key] += [file["path"] for file in written["files"]]
        return item


def _frerec_meta(meta: Mapping[str, Any]) -> Mapping[str, Any]:
    known = meta.get("frerec") if isinstance(meta, Mapping) else None
    if not isinstance(known, Mapping) or "source" not in known:
        remedy = "Load images with LoadMedicalImaged and name that image as reference_key"
        raise ConfigError("reference_key", None, "the image does not say which file it came from", remedy)
    return known
