"""Read every DICOM file below a folder, compare with independent readers, and write the table of supported files.

    python scripts/survey_files.py FOLDER --output docs/reference/supported_files.md

Every file is read through `LoadMedicalImage`. What it gives is compared with pydicom's own pipeline (`pixel_array`,
`apply_modality_lut`, `apply_color_lut`) and with GDCM as SimpleITK calls it; needs the `test` extra.
"""

from __future__ import annotations

import argparse
import re
import sys
import warnings
from collections import defaultdict
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK as sitk

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bundle"))

from frerec.errors import InputError
from frerec.io.loader import LoadMedicalImage
from frerec.io.records import Source

try:
    from pydicom.pixels import apply_color_lut, apply_modality_lut
except ImportError:  # pydicom 2.4
    from pydicom.pixel_data_handlers.util import apply_color_lut, apply_modality_lut


BEGIN, END = "<!-- survey begins -->", "<!-- survey ends -->"


@dataclass(frozen=True)
class Row:
    """What became of one file."""

    name: str
    kind: str
    result: str
    pydicom: str
    gdcm: str


def survey(root: Path) -> list[Row]:
    """Read every .dcm file below a folder, in the order of their names."""
    load = LoadMedicalImage(root)
    return [_survey_file(path, root, load) for path in sorted(root.rglob("*.dcm"))]


def survey_folders(root: Path) -> list[tuple[str, str]]:
    """Read every folder whose files are named alike as a series."""
    load, rows = LoadMedicalImage(root), []
    for folder in sorted({path.parent for path in root.rglob("*.dcm")}):
        if len({path.name[:2] for path in folder.glob("*.dcm")}) > 1:
            continue  # a collection of unrelated files
        name = folder.relative_to(root).as_posix()
        try:
            image = load(folder)
            size = " x ".join(map(str, image.shape[1:]))
            rows.append((name, f"read: {size} voxels of {_numbers(image.meta['spacing'])} mm"))
        except InputError as error:
            rows.append((name, f"refused: {error.reason}. {error.remedy}"))
    return rows


def _numbers(values: np.ndarray) -> str:
    return " x ".join(f"{value:.3g}" for value in values)


def _survey_file(path: Path, root: Path, load: LoadMedicalImage) -> Row:
    name = path.relative_to(root).as_posix()
    try:
        image = load(path)
    except InputError as error:
        return Row(name, _describe(path), f"refused: {error.reason}. {error.remedy}", "", "")
    source = image.meta["frerec"]["source"]
    size = " x ".join(map(str, image.shape))
    notes = "".join(f"; {warning}" for warning in source.warnings)
    result = f"read: {size}, scale `{source.ranges.auto}`{notes}"
    ours, (dataset, stored, added) = image.numpy(), _stored(path)
    return Row(
        name,
        _describe(path),
        result,
        _against_pydicom(dataset, stored, ours, source) + added,
        _against_gdcm(path, stored, ours, source),
    )


def _describe(path: Path) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        header = pydicom.dcmread(path, force=True, stop_before_pixels=True)
    syntax = getattr(header, "file_meta", {}).get("TransferSyntaxUID")
    bits = f"{header.get('BitsStored')}/{header.get('BitsAllocated')} bit" if header.get("BitsStored") else ""
    sign = " signed" if header.get("PixelRepresentation") == 1 else ""
    parts = (
        str(header.get("Modality") or ""),
        str(header.get("PhotometricInterpretation") or ""),
        bits + sign if bits else "",
        _short_syntax(syntax.name) if syntax else "",
    )
    return ", ".join(part for part in parts if part)


def _short_syntax(name: str) -> str:
    for long, short in (
        ("High-Throughput JPEG 2000 Image Compression", "HTJ2K"),
        (" Image Compression", ""),
        (" VR", ""),
        ("Little Endian", "LE"),
        ("Big Endian", "BE"),
        (" (Lossless Only)", " lossless"),
        # pydicom knows this UID by name only where another package has told it
        ("1.2.840.10008.1.2.8.1", "deflated frames"),
        ("Deflated Image Frame Compression", "deflated frames"),
    ):
        name = name.replace(long, short)
    return name.split(", Non-Hierarchical")[0]


def _stored(path: Path) -> tuple[pydicom.Dataset, np.ndarray, str]:
    added = ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(path, force=True)
        if len(dataset) == 0:
            dataset = pydicom.dcmread(BytesIO(path.read_bytes() + b"\xfe\xff\xdd\xe0\0\0\0\0"), force=True)
            added = " with the last delimiter added [5]"
        if not dataset.file_meta.get("TransferSyntaxUID"):
            dataset.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
        return dataset, dataset.pixel_array, added


def _against_pydicom(dataset: pydicom.Dataset, stored: np.ndarray, ours: np.ndarray, source: Source) -> str:
    valid = _channel_first(_valid(stored, source), source, samples=False)
    if source.value_rule == "palette":
        values = apply_color_lut(stored, dataset)
        verdict = _verdict(ours, _channel_first(values, source), valid)
        if verdict != "equal" and _verdict(ours, _channel_first(values.byteswap(), source), valid) == "equal":
            return "equal but for the byte order of the palette [1]"
        return verdict
    values = np.asarray(apply_modality_lut(stored, dataset), np.float64)
    if source.inverted:
        values = float((1 << int(dataset.BitsStored)) - 1) - values
    return _verdict(ours, _channel_first(values, source), valid)


def _valid(stored: np.ndarray, source: Source) -> np.ndarray:
    """Which pixels are no padding, without a samples axis."""
    colour = source.shape[0] == 3 and source.value_rule != "palette"
    pixels = stored[..., 0] if colour else stored
    if source.padding is None:
        return np.ones(pixels.shape, bool)
    low, high = source.padding
    return ~((pixels >= low) & (pixels <= high))


def _channel_first(values: np.ndarray, source: Source, samples: bool = True) -> np.ndarray:
    """Bring ([frames,] rows, columns[, samples]) to (channels, rows, columns[, frames])."""
    if source.last_axis != "none":
        values = np.moveaxis(values[np.asarray(source.frame_order)], 0, 2)
    if samples and source.shape[0] == 3:
        return np.moveaxis(values, -1, 0)
    return values[None]


def _against_gdcm(path: Path, stored: np.ndarray, ours: np.ndarray, source: Source) -> str:
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        values = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    except RuntimeError:
        return "cannot read it [2]"
    valid = _channel_first(_valid(stored, source), source, samples=False)
    if source.last_axis == "none":
        values = values[0]
    values = _channel_first(values, source)
    verdict = _verdict(ours, values, valid)
    if verdict == "equal":
        return verdict
    if source.value_rule == "palette" and _verdict(ours.astype(int) >> 8, values, valid) == "equal":
        return "equal in the upper 8 of 16 bits [3]"
    if source.value_rule == "lut" and _verdict(_channel_first(stored, source), values, valid) == "equal":
        return "equal before the Modality LUT [4]"
    return verdict


def _verdict(ours: np.ndarray, theirs: np.ndarray, valid: np.ndarray) -> str:
    if ours.shape != theirs.shape:
        return f"another shape: {' x '.join(map(str, theirs.shape))}"
    # Both are rounded to float32, as the loader does last.
    difference = np.abs(ours.astype(np.float32) - theirs.astype(np.float32))[np.broadcast_to(valid, ours.shape)]
    count = int((difference > 0).sum())
    return (
        "equal" if count == 0 else f"differs by up to {difference.max():.4g} in {100 * count / difference.size:.1f} %"
    )


def table(rows: list[Row]) -> str:
    """Markdown table; files of one folder that differ only by number and fared alike share a line."""
    groups: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for row in rows:
        pattern = re.sub(r"\d+(?=\.dcm$)", "#", row.name)
        groups[(pattern, row.kind, row.result, row.pydicom, row.gdcm)].append(row.name)
    lines = ["| file | kind | result | pydicom | GDCM |", "| --- | --- | --- | --- | --- |"]
    for (_, *cells), names in groups.items():
        shown = f"`{names[0]}`" if len(names) == 1 else f"`{names[0]}` to `{Path(names[-1]).name}` ({len(names)} files)"
        lines.append(f"| {shown} | {' | '.join(cells)} |")
    return "\n".join(lines)


def document(root: Path) -> str:
    """The generated part of the page: counts, the table of files, and what folders read as series give."""
    rows = survey(root)
    read = sum(row.result.startswith("read") for row in rows)
    lines = [f"{len(rows)} files: {read} read, {len(rows) - read} refused.", "", table(rows), ""]
    lines += ["Folders read as series:", "", "| folder | result |", "| --- | --- |"]
    lines += [f"| `{name}` | {result} |" for name, result in survey_folders(root)]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the table of supported DICOM files.")
    parser.add_argument("folder", type=Path, help="folder of DICOM files; searched with its subfolders")
    parser.add_argument("--output", type=Path, required=True, help="page whose part between the two marks is replaced")
    arguments = parser.parse_args()
    before, _, rest = arguments.output.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    text = f"{before}{BEGIN}\n{document(arguments.folder)}\n{END}{after}"
    arguments.output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
