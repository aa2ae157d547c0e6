"""Loading and saving one image in plain Python: the loader and the saver of the workflows as two functions."""

from __future__ import annotations

import os
from collections.abc import Sequence

from monai.data import MetaTensor

from frerec.errors import InputError
from frerec.files import absolute
from frerec.io.loader import LoadMedicalImage
from frerec.io.naming import ENDINGS, PICTURES
from frerec.io.records import source_of
from frerec.io.writer import SaveRecalibrated, Written


def load_image(
    path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    channels: int | None = None,
    label_maps: str = "refuse",
) -> MetaTensor:
    """Load an image in physical units; the function form of `frerec.io.loader.LoadMedicalImage`.

    Args:
        path: a DICOM, NIfTI, PNG, TIFF, JPEG or BMP file, the files of one DICOM series, or a folder that holds one.
        channels: as in ``LoadMedicalImage``.
        label_maps: as there.

    Returns:
        float32 (C, H, W) or (C, H, W, D) with geometry and spacing in millimetres, which `save_image`
        writes as the file was.

    Raises:
        InputError: whatever makes the image unusable, in one line with the remedy.
    """
    return LoadMedicalImage(channels=channels, label_maps=label_maps)(path)


def save_image(image: MetaTensor, path: str | os.PathLike[str], overwrite: bool = False) -> Written:
    """Write an image in the format of the file it was loaded from: units, geometry, bit depth and header are kept.

    What was done to it goes into its provenance, and an image that says it is synthetic stays marked so.

    Args:
        image: loaded by `load_image` and processed, (C, H, W) or (C, H, W, D) in physical units.
        path: the file to write, of a DICOM series the folder. Its ending must be that of the format (JPEG and BMP are
            written as PNG); ``.dcm`` makes a picture a DICOM Secondary Capture.
        overwrite: replace whatever is there; without it, only earlier outputs of this package. Never the input.

    Raises:
        InputError: as `SaveRecalibrated`, or the ending is that of another format.
        ConfigError: as there.
    """
    source, target = source_of(image), absolute(path)
    name = target.name.lower()
    kind = source.kind if source is not None else "dicom"
    as_dicom = kind in PICTURES and name.endswith(".dcm")
    endings = ENDINGS.get(kind, ())
    if endings and not as_dicom and not name.endswith(endings):
        kept = "a PNG" if kind in ("jpeg", "bmp") else f"a {kind.upper()}"
        raise InputError(target, f"the image came from {kind.upper()} and is written as {kept}", f"Use {endings[0]}")
    save = SaveRecalibrated(str(target.parent), output_format="dicom" if as_dicom else "same", overwrite=overwrite)
    return save(image, filename=target)
