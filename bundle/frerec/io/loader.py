"""One loader for every kind of medical image that is read: DICOM, DICOM series, NIfTI and pictures."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Transform
from monai.utils.enums import SpaceKeys

from frerec.errors import InputError
from frerec.io.dicom.reader import read_dicom
from frerec.io.dicom.series import read_series
from frerec.io.formats import detect_format
from frerec.io.label_maps import refuse_label_map
from frerec.io.listing import absolute, problem_of
from frerec.io.nifti.reader import read_nifti
from frerec.io.picture.reader import read_picture
from frerec.io.quiet import quiet_libraries
from frerec.io.reading import Reading
from frerec.io.source import Source


class LoadMedicalImage(Transform):
    """Load an image as a channel-first MetaTensor in physical units.

    The result is float32, (C, H, W) or (C, H, W, D), row-major: the first spatial axis runs down the rows, the second
    along the columns, the third over slices (or frames, see ``frerec.io.source``). Colour is RGB. ``meta`` holds

    - ``affine``, ``original_affine``: (4, 4) float64, array indices to RAS+ millimetres; ``space``: RAS
    - ``spacing``: millimetres per voxel along each spatial axis; ``spatial_shape``; ``filename_or_obj``
    - ``frerec``: ``{"source": ...}``, all that a writer needs; see ``frerec.io.source``

    The format is told by content. Several files are read as the slices of one volume, and so is a folder that holds
    one DICOM series.

    Args:
        root: folder that ``relative_path`` in the source is relative to; None for the bare name.
        channels: wanted number of channels. Gray saved as three equal channels is loaded as one when 1 is wanted;
            any other difference is refused. None accepts what the file has.
        label_maps: ``refuse`` masks and label maps, or ``accept`` them; see ``frerec.io.label_maps``.
    """

    def __init__(
        self, root: str | PathLike[str] | None = None, channels: int | None = None, label_maps: str = "refuse"
    ) -> None:
        self.root = absolute(root) if root else None
        self.channels, self.label_maps = channels, label_maps

    def __call__(self, path: str | PathLike[str] | Sequence[str | PathLike[str]]) -> MetaTensor:
        """Load one image.

        Args:
            path: a file, the files of one DICOM series, or a folder that holds one DICOM series.

        Raises:
            InputError: whatever makes the image unusable, in one line with the remedy.
        """
        files = [absolute(path)] if isinstance(path, str | PathLike) else [absolute(file) for file in path]
        # of several files, the folder that all of them lie below
        place = files[0] if len(files) == 1 else Path(os.path.commonpath([file.parent for file in files]))
        reading = read_image(files, self.channels, self.label_maps)
        source = Source(str(place), self._relative(place), reading.sha256, reading.format, reading.details)
        return _as_metatensor(reading, source)

    def _relative(self, path: Path) -> str:
        if self.root is not None and path.is_relative_to(self.root):
            return path.relative_to(self.root).as_posix()
        return path.name


class LoadMedicalImaged(MapTransform):
    """Dictionary version of ``LoadMedicalImage``.

    Args:
        keys: keys whose paths are replaced by the loaded images.
        root: as in ``LoadMedicalImage``.
        channels: as in ``LoadMedicalImage``.
        label_maps: as in ``LoadMedicalImage``.
        allow_missing_keys: do not fail where a key is missing.
    """

    def __init__(
        self,
        keys: KeysCollection,
        root: str | PathLike[str] | None = None,
        channels: int | None = None,
        label_maps: str = "refuse",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.load = LoadMedicalImage(root, channels, label_maps)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Load the images named under the keys; see ``LoadMedicalImage``."""
        result = dict(data)
        for key in self.key_iterator(result):
            result[key] = self.load(result[key])
        return result


@quiet_libraries()
def read_image(place: Path | Sequence[Path], channels: int | None = None, label_maps: str = "refuse") -> Reading:
    """Read a file or series with the reader for its format.

    Args:
        place: a file, the folder of a series, or the files of one.
        channels: as in ``LoadMedicalImage``.
        label_maps: as in ``LoadMedicalImage``.

    Raises:
        InputError: whatever makes the image unusable.
    """
    files = [place] if isinstance(place, Path) else list(place)
    reading = _read(files[0], channels) if len(files) == 1 else read_series(files, channels)
    refuse_label_map(files[0], reading.array, reading.details, label_maps)
    return reading


def _read(path: Path, channels: int | None) -> Reading:
    if path.is_dir():
        return read_series(path, channels)
    problem = problem_of(path)
    if problem is not None:
        raise InputError(path, *problem)
    kind = detect_format(path)
    if kind == "dicom":
        return read_dicom(path, channels)
    if kind == "nifti":
        return read_nifti(path, channels)
    return read_picture(path, kind, channels)


def _as_metatensor(reading: Reading, source: Source) -> MetaTensor:
    affine = torch.as_tensor(reading.affine, dtype=torch.float64)
    meta = {
        "filename_or_obj": source.path,
        "original_affine": reading.affine.copy(),
        "space": SpaceKeys.RAS,
        "spatial_shape": np.asarray(reading.array.shape[1:]),
        "spacing": np.asarray(source.details["spacing"], np.float64),
        "frerec": {"source": source.to_meta()},
    }
    return MetaTensor(torch.from_numpy(reading.array), affine=affine, meta=meta)
