"""The saver: recalibrated images back into the format, depth and units they came in, with their provenance."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, Transform

from frerec.errors import ConfigError, InputError
from frerec.files import absolute, atomic_write
from frerec.io.dicom.capture import captured_dicom
from frerec.io.dicom.reader import restore_dicom
from frerec.io.dicom.writer import derived_dicom
from frerec.io.likeness import DOUBTFUL, REFUSED, combine, unlike
from frerec.io.naming import output_kind, output_path, sidecar_path
from frerec.io.nifti.file import derived_nifti
from frerec.io.nifti.reader import restore_nifti
from frerec.io.origin import declared_origin, was_written_by_us
from frerec.io.picture.reader import restore_picture
from frerec.io.picture.writer import derived_picture
from frerec.io.provenance import Generator, Provenance, RunSettings, canonical_json, plain
from frerec.io.records import Applied, Source, applied_to, source_of
from frerec.io.restoring import EncodedPixels, Scale


@dataclass(frozen=True)
class Written:
    """What a saver wrote.

    Args:
        files: path and hexadecimal SHA-256 of each file, images first.
        warnings: sentences a user should know.
        synthetic: whether the outputs are marked so.
        provenance: the record that is in or beside the files.
        likeness: correlation with the input, PSNR over the range in use in dB (None where nothing changed), share of
            values clipped.
    """

    files: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...] = ()
    synthetic: bool = False
    provenance: Mapping[str, Any] | None = None
    likeness: Mapping[str, Any] | None = None


def encoded_pixels(array: npt.NDArray[Any], source: Source, applied: Applied | None = None) -> list[EncodedPixels]:
    """Encode a processed image as its original was.

    A voxel whose physical value is the original's, up to the rounding of a range normalisation, keeps its stored value
    bit for bit, and so does every padding pixel; any other is brought back through rescale, lookup table, inversion or
    colour space and rounded to the nearest storable value.

    Args:
        array: (C, H, W) or (C, H, W, D) physical values, as ``LoadMedicalImage`` gave them and ``RestoreRange`` gives
            them back.
        source: of the loaded image.
        applied: what was done to it.

    Returns:
        One item per output file: for a DICOM series one per slice, in slice order; otherwise one.

    Raises:
        InputError: the array has another shape than the original, holds NaN or infinite values, or the original has
            changed since it was loaded.
    """
    values = np.asarray(array, np.float32)
    if values.shape != source.shape:
        text = f"the processed image is {list(values.shape)}, the original {list(source.shape)}"
        raise InputError(source.path, text, "Keep the size: crop what was padded and leave out resizing transforms")
    if not np.isfinite(values).all():
        raise InputError(source.path, "the processed image holds NaN or infinite voxels", "Check weights and settings")
    normalize = applied.normalize if applied is not None else None
    ends = [*source.ranges["measured"], *([normalize.lower, normalize.upper] if normalize else [])]
    low, high = source.ranges["robust"]
    scale = Scale(max(map(abs, ends)), high - low)
    if source.kind.startswith("dicom"):
        return restore_dicom(source, values, scale)
    return [(restore_nifti if source.kind == "nifti" else restore_picture)(source, values, scale)]


class SaveRecalibrated(Transform):
    """Write an image in the format of the file or series it was loaded from.

    DICOM becomes a derived object of the same study; NIfTI keeps its header; PNG and TIFF keep their depth; JPEG and
    BMP become PNG. Values are rounded and clipped to the range the source can store, never wrapped. Files appear whole
    or not at all. All but DICOM get a JSON sidecar (``<name>.json``) with the provenance that is also inside the file.

    Args:
        output_dir: folder that mirrors the input folder.
        synthetic: whether the images are synthetic: True, False, or ``"auto"`` for what each says of itself. An
            image that says it is synthetic stays marked so even with False.
        generator: what made synthetic images: a mapping with ``manufacturer``, ``model``, ``version``, or None.
        output_format: ``"same"``, or ``"dicom"`` to write pictures as DICOM Secondary Capture.
        overwrite: replace whatever lies at an output's place. Without it, earlier outputs of this package are
            replaced, and any other file there is an error. An input file is never overwritten.
        settings: of the run, told in the provenance: `frerec.io.provenance.run_settings`, or a mapping.
        verify_output: refuse to write an output that has little to do with its input, see `frerec.io.likeness`;
            False writes it with a warning.

    Raises:
        ConfigError: for unusable arguments.
    """

    def __init__(
        self,
        output_dir: str,
        synthetic: bool | str = "auto",
        generator: Mapping[str, Any] | Generator | None = None,
        output_format: str = "same",
        overwrite: bool = False,
        settings: Mapping[str, Any] | None = None,
        verify_output: bool = True,
    ) -> None:
        if synthetic not in (True, False, "auto"):
            raise ConfigError("synthetic", synthetic, "not a choice", "Use true, false or auto")
        self.output_dir = Path(output_dir)
        self.synthetic, self.generator = synthetic, Generator.from_config(generator)
        self.output_format, self.overwrite = output_format, overwrite
        self.settings, self.verify_output = RunSettings(settings or {}), verify_output

    def __call__(
        self,
        img: torch.Tensor | np.ndarray,
        meta: Mapping[str, Any] | None = None,
        filename: str | os.PathLike[str] | None = None,
    ) -> Written:
        """Write one image.

        Args:
            img: (C, H, W) or (C, H, W, D) in physical units, real, any device.
            meta: of the loaded image, whose records tell where ``img`` came from and what was done; None for that of
                ``img`` itself.
            filename: where to write it (of a series, the folder) instead of the place that mirrors the input's.

        Raises:
            InputError: if the image holds NaN, or its output cannot or must not be written.
            ConfigError: if the image was not loaded by `frerec.io.loader.LoadMedicalImage`, or the output has little
                to do with the input.
        """
        known = img if meta is None else meta
        source, applied = source_of(known), applied_to(known)
        if source is None:
            remedy = "Load images with load_image or LoadMedicalImaged, and name that one as reference_key"
            raise ConfigError("reference_key", None, "the image does not say which file it came from", remedy)
        array = torch.as_tensor(img).detach().cpu().to(torch.float32).numpy()
        warnings: list[str] = []
        provenance = self._provenance(source, applied, warnings)
        kind = output_kind(source, self.output_format)
        images = encoded_pixels(array, source, applied)
        likeness = self._verify(images, source.ranges["robust"], warnings)
        outputs, root, placed = [], self.output_dir, source
        if filename is not None:
            root, placed = absolute(filename).parent, replace(source, relative_path=absolute(filename).name)
        for position, pixels in enumerate(images, start=1):
            target = output_path(placed, pixels.original, root, self.output_format)
            if not self.overwrite and target.exists() and not was_written_by_us(target):
                reason = f"{target} exists and is not an output of this software"
                raise InputError(source.path, reason, "Choose another output_dir, or set overwrite to true")
            outputs += self._encode(kind, target, pixels, provenance, position, warnings)
        files = []
        # Nothing is written before all of a series could be encoded.
        for path, content in outputs:
            with atomic_write(path) as stream:
                stream.write(content)
            files.append((str(path), hashlib.sha256(content).hexdigest()))
        files.sort(key=lambda file: file[0].endswith(".json"))
        told = tuple(dict.fromkeys(warnings))
        return Written(tuple(files), told, provenance.synthetic, provenance.record(), likeness)

    def _verify(self, images: Sequence[EncodedPixels], used: Sequence[float], warnings: list[str]) -> dict[str, Any]:
        whole = combine(pixels.likeness for pixels in images)
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
        clipped, psnr = sum(pixels.clipped for pixels in images), whole.psnr_db(used)
        return {
            "correlation": round(whole.correlation, 4),
            "psnr_db": round(psnr, 2) if math.isfinite(psnr) else None,
            "clipped": round(clipped / max(whole.count, 1), 6),
        }

    def _provenance(self, source: Source, applied: Applied, warnings: list[str]) -> Provenance:
        declared, generator = declared_origin(source)
        if declared and self.synthetic is False:
            warnings.append("the input says it is synthetic; its output stays marked so although synthetic=false")
        # what a component reports of itself counts; what it drew belongs to this image alone
        run = plain(applied.shr)
        sample = {"drawn": run.pop("drawn")} if "drawn" in run else {}
        if applied.normalize is not None:
            sample["normalize"] = {"lower": applied.normalize.lower, "upper": applied.normalize.upper}
        return Provenance(
            source_name=source.relative_path,
            source_sha256=source.sha256,
            settings={**run, **{key: value for key, value in self.settings.processing().items() if key not in run}},
            sample=sample,
            weights_sha256=self.settings.get("weights_sha256"),
            synthetic=declared or self.synthetic is True,
            generator=self.generator or generator,
        )

    def _encode(
        self,
        kind: str,
        target: Path,
        pixels: EncodedPixels,
        provenance: Provenance,
        position: int,
        warnings: list[str],
    ) -> list[tuple[Path, bytes]]:
        """Paths and contents of the files to write for one output image, in order."""
        if kind in ("dicom", "dicom-series"):
            data, told = derived_dicom(pixels, provenance, position=position)
            warnings.extend(told)
            return [(target, data)]
        if kind == "capture":
            return [(target, captured_dicom(pixels, provenance))]
        record = provenance.record()
        if kind == "nifti":
            data = derived_nifti(pixels, record, compress=target.name.endswith(".gz"))
        else:
            data = derived_picture(pixels, record, kind=kind)
        beside = canonical_json({**record, "sha256": hashlib.sha256(data).hexdigest()}) + "\n"
        # The sidecar first: whoever sees the image sees its provenance too.
        return [(sidecar_path(target), beside.encode("ascii")), (target, data)]


class SaveRecalibratedd(MapTransform):
    """Dictionary version of `SaveRecalibrated`.

    What was written, a `Written` for each key, is left under ``saved_key`` as a list.

    Args:
        keys: images to write, for example ``"pred"``.
        reference_key: the loaded image, whose metadata tells where ``keys`` came from; they may have none of their own.
        saved_key: key for what was written.
        allow_missing_keys: as in MONAI. All other arguments are those of `SaveRecalibrated`.
    """

    def __init__(
        self,
        keys: KeysCollection,
        output_dir: str,
        reference_key: str = "image",
        saved_key: str = "saved",
        allow_missing_keys: bool = False,
        **saver: Any,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.reference_key, self.saved_key = reference_key, saved_key
        self.saver = SaveRecalibrated(output_dir, **saver)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Write the images of one item; returns the item with what was written added. Raises as `SaveRecalibrated`."""
        item = dict(data)
        meta = getattr(item.get(self.reference_key), "meta", None)
        item[self.saved_key] = [self.saver(item[key], meta) for key in self.key_iterator(item)]
        return item
