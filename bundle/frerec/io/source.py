"""What a loaded image remembers about the file or folder it came from.

``LoadMedicalImage`` puts ``Source.to_meta()`` under ``meta["frerec"]["source"]``: a flat dictionary of strings, because
a DataLoader's collate function cannot batch ``None``, lists of differing lengths or missing keys, and strings pass
through it unharmed. ``Source.from_meta`` is its inverse. The keys:

``path``
    Absolute path of the file, or of the folder below which all files of a DICOM series lie. Links are not replaced by
    what they point to.
``relative_path``
    The same path relative to the loader's ``root`` (its name alone without one), with forward slashes; ``.`` for a
    series that lies in ``root`` itself.
``sha256``
    Checksum of the file; of a series: of the concatenated hexadecimal checksums of its files in slice order.
``format``
    ``dicom``, ``dicom-series``, ``nifti``, ``png``, ``tiff``, ``jpeg`` or ``bmp``.
``details``
    JSON text of the dictionary below, which ``Source.details`` holds decoded.

Keys of ``details`` for every format:

=====================  =================================================================================================
``warnings``           list of sentences about what was unusual but could be read; no value from a header but sizes
``channels``           channels of the loaded array; ``replicated`` is true when three equal channels became one
``range``              the intensity ranges that ``NormalizeRange`` chooses from, in physical units; see ``intensity``
``shape``              shape of the loaded array, channel first
``dtype``              numpy type string of the stored values, with byte order, for example ``>i2``
``last_axis``          meaning of the third spatial axis: ``none`` (2-D), ``slice`` or ``frame`` (time, views)
``spacing``            millimetres per voxel along each spatial axis of the array (1.0 where the file states none)
``geometry``           ``patient``: the affine is in patient coordinates; ``pixel``: only spacing is known
=====================  =================================================================================================

DICOM and DICOM series add:

=====================  =================================================================================================
``files``              one ``{"path", "sha256"}`` per file, in slice order (single files: one entry)
``frame_order``        for each position on the third axis the frame's index in its file (multi-frame objects only)
``modality``           (0008,0060); ``sop_class_uid``: (0008,0016); ``transfer_syntax_uid``: (0002,0010)
``photometric``        (0028,0004) as in the file
``inverted``           true when MONOCHROME1 was turned into brighter-is-higher; undone by ``to_stored``
``value_rule``         ``identity``, ``rescale``, ``lut`` (Modality LUT), ``ybr`` or ``palette``
``padding``            ``[low, high]`` stored values that mean "no pixel here", or null
=====================  =================================================================================================

NIfTI adds ``file_shape`` (as in the header, with trailing singletons), ``slope``, ``intercept``, ``version`` (1 or 2),
``labels`` (true where the header's intent says that values are labels) and, for integers, ``limits``: the smallest and
the largest physical value that the stored type can hold.
Pictures add ``mode`` (Pillow's), ``alpha`` (true when an alpha channel is kept aside) and ``palette`` (true when a
palette was resolved to its gray or colour values).

**Writers do not rebuild stored values from these keys.** They call ``frerec.io.stored.to_stored(array, source)``,
which reads the original again, keeps every stored value whose voxel did not change and encodes the others.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Source:
    """Where an image came from; see the module's text for the keys.

    Args:
        path: absolute path of the file or series folder.
        relative_path: path below the loader's root, with forward slashes.
        sha256: hexadecimal checksum of the file or series.
        format: one of the format names above.
        details: what the format's reader and writer need, JSON-serialisable.
    """

    path: str
    relative_path: str
    sha256: str
    format: str
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def warnings(self) -> list[str]:
        """Sentences about what was unusual in the file."""
        return list(self.details.get("warnings", []))

    def to_meta(self) -> dict[str, str]:
        """The flat dictionary of strings kept under ``meta["frerec"]["source"]``."""
        return {
            "path": self.path,
            "relative_path": self.relative_path,
            "sha256": self.sha256,
            "format": self.format,
            "details": json.dumps(self.details, sort_keys=True),
        }

    @classmethod
    def from_meta(cls, meta: Mapping[str, Any]) -> Source:
        """Inverse of ``to_meta``.

        Args:
            meta: the dictionary under ``meta["frerec"]["source"]``.
        """
        return cls(
            path=str(meta["path"]),
            relative_path=str(meta["relative_path"]),
            sha256=str(meta["sha256"]),
            format=str(meta["format"]),
            details=json.loads(meta["details"]),
        )
