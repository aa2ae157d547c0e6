"""One loader for every kind of medical image that is read: DICOM, DICOM series, NIfTI and pictures."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
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
from frerec.files import absolute
from frerec.io.dicom.reader import read_series
from frerec.io.formats import InputFile
from frerec.io.label_maps import refuse_label_map
from frerec.io.listing import one_volume
from frerec.io.nifti.reader import read_nifti
from frerec.io.picture.reader import read_picture
from frerec.io.quiet import quiet_libraries
from frerec.io.reading import Reading
from frerec.io.records import Applied


class LoadMedicalImage(Transform):
    """Load an image as a channel-first MetaTensor in physical units.

    The result is float32, (C, H, W) or (C, H, W, D), row-major: the first spatial axis runs down the rows, the second
    along the columns, the third over slices (or frames). Colour is RGB. ``meta`` holds

    - ``affine``, ``original_affine``: (4, 4) float64, array indices to RAS+ millimetres; ``space``: RAS
    - ``spacing``: millimetres per voxel along each spatial axis; ``spatial_shape``; ``filename_or_obj``
    - ``frerec``: ``source``, all that a writer needs, and ``applied``; see ``frerec.io.records``

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
            path: a file, the files of one DICOM series, or a folder that holds one DICOM series. An ``InputFile`` is
                not opened again, and its content stays with the image, so that a saver needs not open it either.

        Raises:
            InputError: whatever makes the image unusable, in one line with the remedy.
        """
        reading = read_image(path, self.channels, self.label_maps)
        kept = isinstance(path, InputFile) or (not isinstance(path, str | PathLike) and isinstance(path[0], InputFile))
        files = reading.source.files if kept else tuple(file.light() for file in reading.source.files)
        source = replace(reading.source, files=files, relative_path=self._relative(Path(reading.source.path)))
        return _as_metatensor(reading._replace(source=source))

    def _relative(self, path: Path) -> str:
        if self.root is not None and path.is_relative_to(self.root):
            return path.relative_to(self.root).as_posix()
        return path.name


class LoadMedicalImaged(MapTransform):
    """Dictionary version of ``LoadMedicalImage``.

    Args:
        keys: keys whose paths are replaced by the loaded images.
        root: as in ``LoadMedicalImage``, and so are ``channels`` and ``label_maps``.
        channels: see there.
        label_maps: see there.
        allow_missing_keys: as in MONAI.
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

    def settings(self) -> dict[str, Any]:
        """What it applies, for `frerec.io.provenance.run_settings`."""
        return {"channels": self.load.channels, "label_maps": self.load.label_maps}

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Load the images named under the keys; see ``LoadMedicalImage``."""
        result = dict(data)
        for key in self.key_iterator(result):
            result[key] = self.load(result[key])
        return result


@quiet_libraries()
def read_image(
    place: str | PathLike[str] | Sequence[str | PathLike[str]], channels: int | None = None, label_maps: str = "refuse"
) -> Reading:
    """Read a file or series with the reader for its format.

    Raises:
        InputError: whatever makes the image unusable.
    """
    given: Sequence[str | PathLike[str]] = [place] if isinstance(place, str | PathLike) else list(place)
    if "" in given:  # it would be the working directory; a server gives it for an id that none of its images has
        remedy = "Name a file, a folder, or an image that the server lists"
        raise InputError("''", "no image of this name is known", remedy)
    notes: list[str] = []
    if len(given) == 1 and not isinstance(given[0], InputFile) and absolute(given[0]).is_dir():
        given, notes = one_volume(absolute(given[0]))
    if not given:
        raise InputError("''", "no file is named", "Name the files of one volume")
    files = [one if isinstance(one, InputFile) else InputFile.read(absolute(one)) for one in given]
    kind = files[0].kind
    if len(files) > 1 or kind == "dicom":
        reading = read_series(files, channels)
    else:
        files[0].content()
        reading = (read_nifti if kind == "nifti" else read_picture)(files[0], channels)
    refuse_label_map(reading, label_maps)
    return reading._replace(source=replace(reading.source, warnings=(*notes, *reading.source.warnings)))


def _as_metatensor(reading: Reading) -> MetaTensor:
    affine = torch.as_tensor(reading.affine, dtype=torch.float64)
    meta = {
        "filename_or_obj": reading.source.path,
        "original_affine": reading.affine.copy(),
        "space": SpaceKeys.RAS,
        "spatial_shape": np.asarray(reading.array.shape[1:]),
        "spacing": np.asarray(reading.source.spacing, np.float64),
        "frerec": {"source": reading.source, "applied": Applied()},
    }
    return MetaTensor(torch.from_numpy(reading.array), affine=affine, meta=meta)
