"""Fetch a study from an archive, and store recalibrated images in it, over DICOMweb or DIMSE.

    python scripts/pacs.py fetch ARCHIVE STUDY --output_dir study
    python scripts/pacs.py store ARCHIVE study_recalibrated

ARCHIVE is the root of its DICOMweb services, http://pacs.example.org/dicom-web, with user and password in ~/.netrc, or
dicom://FREREC@pacs.example.org:104/ORTHANC with our and its AE title. What came before is left alone, and an archive
stores nothing twice, so the same command goes on where it was interrupted. Needs the `pacs` extra; exit codes as in
docs/reference/exit_codes.md.
"""

from __future__ import annotations

import argparse
import logging
import re
import sys
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from pydicom.misc import is_dicom

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bundle"))

from frerec.errors import (
    EXIT_BROKE_OFF,
    EXIT_INTERRUPTED,
    EXIT_NOTHING_DONE,
    EXIT_OK,
    EXIT_PREFLIGHT,
    EXIT_SOME_FAILED,
    InputError,
)
from frerec.files import atomic_write, printable

try:
    from scripts.archives import DicomWeb, Dimse, archive_at
except ModuleNotFoundError as error:
    raise SystemExit(f"pacs: {error.name} is not installed. Run: pip install '<bundle>[pacs]'.") from error

# archives hold UIDs that break the standard's rules for zeros and dots
_UID = re.compile(r"[0-9][0-9.]{0,63}")
_TOLD = ("fetched", "there before", "stored", "failed", "series left out")
_OURS = ("[FreRec]", "[FreRec synthetic]")


def fetch(
    archive: DicomWeb | Dimse, study: str, output_dir: Path, counts: Counter[str], only: Sequence[str] = ()
) -> None:
    """Write every instance of a study to `output_dir/<series>/<instance>.dcm`, but those that are there.

    Series that FreRec made are left out, unless they are named.
    """
    for uid in (study, *only):
        if not _UID.fullmatch(uid):
            raise InputError(uid, "not a UID", "Write the Study or Series Instance UID, digits and points")
    series = archive.series(study)
    if not series:
        raise InputError(study, f"no such study at {archive.url}", "Check the Study Instance UID")
    if missing := [uid for uid in only if uid not in series]:
        raise InputError(missing[0], "no such series in this study", "Check the Series Instance UID")
    for uid, description in series.items():
        if uid not in only and (only or description.endswith(_OURS)):
            counts["series left out"] += 1
            continue
        instances = {_target(output_dir, uid, instance.uid): instance for instance in archive.instances(study, uid)}
        wanted = {instance: path for path, instance in instances.items() if not path.exists()}
        counts["there before"] += len(instances) - len(wanted)
        for instance, result in archive.fetch(study, uid, wanted):
            if isinstance(result, InputError):
                _failed(counts, result)
                continue
            try:
                with atomic_write(wanted[instance]) as stream:
                    stream.write(result)
            except OSError as error:
                raise InputError(output_dir, f"cannot be written to ({error.strerror})", "Choose another") from error
            counts["fetched"] += 1


def store(archive: DicomWeb | Dimse, folder: Path, counts: Counter[str]) -> None:
    """Send every DICOM file below a folder."""
    if not folder.is_dir():
        raise InputError(folder, "no such folder", "Give the output_dir of a run")
    files = sorted(path for path in folder.rglob("[!.]*") if path.is_file() and is_dicom(path))
    if not files:
        raise InputError(folder, "no DICOM file in it", "Give the output_dir of a run over DICOM files")
    for _path, result in archive.store(files):
        if isinstance(result, InputError):
            _failed(counts, result)
        else:
            counts["stored"] += 1


def _target(output_dir: Path, series: str, instance: str) -> Path:
    # they become names of files, and come from somebody else
    for uid in (series, instance):
        if not _UID.fullmatch(uid):
            raise InputError(uid, "the archive names an object by what is not a UID", "Ask whoever runs the archive")
    return output_dir / series / f"{instance}.dcm"


def _failed(counts: Counter[str], error: InputError) -> None:
    print(printable(f"failed: {error}"), file=sys.stderr, flush=True)
    counts["failed"] += 1


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    fetching = commands.add_parser("fetch", help="write the instances of a study into a folder")
    fetching.add_argument("archive")
    fetching.add_argument("study", help="its Study Instance UID")
    fetching.add_argument("--series", nargs="+", default=[], help="only these Series Instance UIDs")
    fetching.add_argument("--output_dir", type=Path, required=True)
    storing = commands.add_parser("store", help="send the DICOM files of a folder")
    storing.add_argument("archive")
    storing.add_argument("folder", type=Path)
    args = parser.parse_args(argv)
    # what libraries log and warn of may quote a header
    logging.disable()
    warnings.simplefilter("ignore")

    counts: Counter[str] = Counter()
    code, stopped = EXIT_OK, ""
    try:
        archive = archive_at(args.archive)
        if args.command == "fetch":
            fetch(archive, args.study, args.output_dir, counts, args.series)
        else:
            store(archive, args.folder, counts)
    except KeyboardInterrupt:
        code, stopped = EXIT_INTERRUPTED, "interrupted (Ctrl-C). Run the same command again."
    except InputError as error:
        code, stopped = EXIT_BROKE_OFF if counts.total() else EXIT_PREFLIGHT, str(error)
    if counts.total():
        print(", ".join(f"{counts[word]} {word}" for word in _TOLD if counts[word]), flush=True)
    if stopped:
        print(printable(f"{args.command} stopped: {stopped}"), file=sys.stderr)
        return code
    good = counts["fetched"] + counts["there before"] + counts["stored"]
    return EXIT_OK if not counts["failed"] else EXIT_SOME_FAILED if good else EXIT_NOTHING_DONE


if __name__ == "__main__":
    raise SystemExit(main())
