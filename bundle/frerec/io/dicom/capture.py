"""Pictures as DICOM: Secondary Capture objects for archives that take nothing else."""

from __future__ import annotations

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import SecondaryCaptureImageStorage

from frerec import __version__
from frerec.errors import InputError
from frerec.io.dicom.derivation import derivation_item, equipment_items, mark_status, suffixed
from frerec.io.dicom.encoding import put_pixels
from frerec.io.dicom.references import derived_uid
from frerec.io.dicom.writer import dicom_bytes
from frerec.io.provenance import SOFTWARE, Provenance, canonical_json
from frerec.io.restoring import MINISWHITE, EncodedPixels

# Present but empty: a picture does not state them (type 2 attributes of PS3.3 A.8.1).
_UNKNOWN = (
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
    "StudyID",
    "AccessionNumber",
    "Laterality",
    "PatientOrientation",
)


def captured_dicom(pixels: EncodedPixels, provenance: Provenance) -> bytes:
    """Encode a picture as a Secondary Capture Image (PS3.3 A.8.1).

    A picture states no patient and no study: both are made up from its checksum, the same for the same picture; the
    patient's name stays empty, and no time is given. An alpha channel is dropped: the object has no place for it.

    Args:
        pixels: stored values of a picture, uint8 or uint16, gray or RGB, possibly with alpha.
        provenance: what was done.

    Returns:
        A complete DICOM file in Explicit VR Little Endian.

    Raises:
        InputError: if the picture's type has no place in such an object.
    """
    array = _fitting(pixels)
    identity, run = provenance.source_sha256, provenance.run_key()
    image = Dataset()
    for keyword in _UNKNOWN:
        setattr(image, keyword, None)
    image.SOPClassUID = SecondaryCaptureImageStorage
    image.SOPInstanceUID = derived_uid("picture instance", identity, run, canonical_json(provenance.sample))
    image.SeriesInstanceUID = derived_uid("picture series", identity, run)
    image.StudyInstanceUID = derived_uid("picture study", identity)
    image.PatientID = f"{SOFTWARE.upper()}-{identity[:16]}"
    image.Modality = "OT"
    # PS3.3 C.8.6.1.1: a synthetic image, or one that a workstation made.
    image.ConversionType = "SYN" if provenance.synthetic else "WSD"
    image.Manufacturer, image.ManufacturerModelName = f"{SOFTWARE} project", SOFTWARE
    image.SoftwareVersions = __version__
    image.SeriesNumber, image.InstanceNumber = 1, 1
    image.SeriesDescription = suffixed(None, synthetic=provenance.synthetic)
    image.ImageType = ["DERIVED", "SECONDARY"]
    image.Rows, image.Columns = array.shape[:2]
    if pixels.original.kind == "jpeg":
        frame = array.size * array.itemsize
        image.LossyImageCompression, image.LossyImageCompressionMethod = "01", "ISO_10918_1"
        image.LossyImageCompressionRatio = f"{frame / max(len(pixels.original.content()), 1):.2f}"
    derivation = derivation_item(provenance)
    image.DerivationDescription = derivation.DerivationDescription
    image.DerivationCodeSequence = derivation.DerivationCodeSequence
    image.ContributingEquipmentSequence = Sequence(equipment_items(provenance))
    mark_status(image, synthetic=provenance.synthetic)
    gray = "MONOCHROME1" if pixels.photometric == MINISWHITE else "MONOCHROME2"
    kind = "RGB" if array.ndim == 3 else gray
    put_pixels(image, EncodedPixels(pixels.original, array, pixels.changed, kind, array.itemsize * 8))
    return dicom_bytes(image)


def _fitting(pixels: EncodedPixels) -> np.ndarray:
    array = pixels.array
    if array.dtype not in (np.uint8, np.uint16):
        reason = f"values of type {array.dtype} have no place in a Secondary Capture object"
        raise InputError(pixels.original.path, reason, "Use output_format=same, or save the picture with 8 or 16 bits")
    if array.ndim == 3:
        array = array[..., :3] if array.shape[-1] >= 3 else array[..., 0]
    return array
