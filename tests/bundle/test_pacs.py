"""A study goes from a real archive through recalibration and back, by the commands of the how-to page."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pydicom
import pytest
from pydicom.misc import is_dicom

from tests.orthanc import Orthanc, free_port

pytest.importorskip("dicomweb_client", reason="dicomweb-client is not installed (extra pacs)")
ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "pacs.py"
PAGE = ROOT / "docs" / "how-to" / "recalibrate_a_dicom_archive.md"
PATIENCE_S = 240
#: MR slices in Implicit VR, and small ones of another patient.
SLICES = [f"example-dicom-structural/dicoms/N2D_{number:04d}.dcm" for number in (160, 161)]
MANY = "dcm_qa_nih/In/20180918GE"
#: JPEG 2000, RLE, Big Endian, JPEG-LS.
ENCODED = ["693_J2KR", "OBXXXX1A_rle", "gdcm-US-ALOKA-16_big", "emri_small_jpeg_ls_lossless"]


@dataclass
class Place:
    """An archive, a directory to work in, and the environment of a user who may use it."""

    archive: Orthanc
    folder: Path
    environment: dict[str, str]
    move_port: int

    @property
    def addresses(self) -> dict[str, str]:
        """Where the archive is, by kind of service."""
        host = "127.0.0.1"
        return {
            "web": f"http://{host}:{self.archive.http_port}/dicom-web",
            "dimse": f"dicom://FREREC@{host}:{self.archive.dicom_port}/ORTHANC",
        }

    def start(self, *words: object, **environment: str) -> subprocess.Popen[str]:
        """The script with these words, running."""
        return subprocess.Popen(
            [sys.executable, str(SCRIPT), *map(str, words)],
            cwd=self.folder,
            env=self.environment | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: object, code: int = 0, **environment: str) -> tuple[str, str]:
        """Run the script to its end; what it said on both streams."""
        running = self.start(*words, **environment)
        said = running.communicate(timeout=PATIENCE_S)
        assert running.returncode == code, said
        return said

    def bash(self, command: str, check: bool = True) -> str:
        """Run a command as it stands on the page."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert not check or done.returncode == 0, f"{command}\n{done.stdout}"
        return done.stdout

    def put(self, *files: Path) -> list[pydicom.Dataset]:
        """Give files to the archive; returns what is in them."""
        for file in files:
            self.archive.get("/instances", method="POST", body=file.read_bytes())
        return [pydicom.dcmread(file) for file in files]

    def series(self, study: str) -> list[dict[str, object]]:
        """The series of a study, as the archive lists them."""
        ids = json.loads(self.archive.get("/studies")[1])
        studies = [json.loads(self.archive.get(f"/studies/{name}")[1]) for name in ids]
        (found,) = [one for one in studies if one["MainDicomTags"]["StudyInstanceUID"] == study]
        return [json.loads(self.archive.get(f"/series/{name}")[1]) for name in found["Series"]]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A fresh archive that knows the user frerec and the AE title FREREC, and nobody else."""
    folder = tmp_path / "archive"
    folder.mkdir()
    port = free_port()
    peer = {"AET": "FREREC", "Host": "127.0.0.1", "Port": port}
    allowed = {f"Allow{what}": True for what in ("Find", "Get", "Move", "Store")}
    archive = Orthanc(
        folder, user=("frerec", "secret"), DicomAet="ORTHANC", DicomCheckCalledAet=True, DicomAlwaysAllowStore=False,
        DicomModalities={"frerec": peer | allowed},
    )  # fmt: skip
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login frerec password secret\n")
    (tmp_path / "netrc").chmod(0o600)
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, words in (("frerec", " -m frerec"), ("python", "")):
        (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}"{words} "$@"\n')
        (programs / name).chmod(0o755)
    environment = os.environ | {
        "NETRC": str(tmp_path / "netrc"),
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT / "bundle"),
    }
    work = tmp_path / "work"
    work.mkdir()
    try:
        yield Place(archive.start(), work, environment, port)
    finally:
        archive.stop()


def same_object(ours: pydicom.Dataset, source: pydicom.Dataset) -> None:
    """Compare all but the retired group lengths, which archives drop."""
    wanted = {element.tag: element.value for element in source if element.tag.element != 0}
    assert {element.tag: element.value for element in ours} == wanted


def held(folder: Path) -> dict[str, pydicom.Dataset]:
    """The objects below a folder, by UID."""
    read = [pydicom.dcmread(path) for path in sorted(folder.rglob("*")) if path.is_file() and is_dicom(path)]
    return {dataset.SOPInstanceUID: dataset for dataset in read}


def blocks(heading: str) -> list[str]:
    """The commands of the page below a heading that begins so; all of them if it is empty."""
    page = PAGE.read_text()
    section = page.split(f"\n## {heading}")[1].split("\n## ")[0] if heading else page
    return re.findall(r"^```bash\n(.*?)\n```$", section, re.M | re.S)


def test_every_command_of_the_page(place: Place, shared_data: Path) -> None:
    for program in ("/usr/bin/storescu", "/usr/bin/movescu"):
        if not Path(program).exists():
            pytest.skip(f"{program} is not installed (Debian package dcmtk)")
    sources = place.put(*(shared_data / "dicom" / name for name in SLICES))
    study, series = sources[0].StudyInstanceUID, sources[0].SeriesInstanceUID
    here = {
        "<bundle>": str(ROOT),
        "<study>": study,
        "<series>": series,
        "pacs.example.org:8042": f"127.0.0.1:{place.archive.http_port}",
        "pacs.example.org:104": f"127.0.0.1:{place.archive.dicom_port}",
        "pacs.example.org 104": f"127.0.0.1 {place.archive.dicom_port}",
        "+P 11112": f"+P {place.move_port}",
        "<instance>": sources[0].SOPInstanceUID,
    }

    def run(command: str, check: bool = True) -> str:
        for placeholder, value in here.items():
            command = command.replace(placeholder, value)
        assert not re.search(r"<\w+>|example", command)
        return place.bash(command, check)

    web, dimse, move = blocks("1.")
    for command in (move, dimse, web):
        shutil.rmtree(place.folder / "study", ignore_errors=True)
        run(command)
        came = held(place.folder / "study")
        assert came.keys() == {source.SOPInstanceUID for source in sources}
        for source in sources:
            # to read the files as they were, movescu is asked for any transfer syntax
            same_object(came[source.SOPInstanceUID], source)

    plain, marked = blocks("2.")
    run(plain)
    (checked,) = blocks("3.")
    if shutil.which("dciodvfy"):
        assert "MRImage" in run(checked, check=False)
    descriptions = ["[FreRec]"]
    for command in blocks("4."):
        # what an earlier way has stored is taken away again, so that each way shows what it does
        for found in place.series(study):
            if found["MainDicomTags"]["SeriesInstanceUID"] != series:
                place.archive.get(f"/series/{found['ID']}", method="DELETE")
        assert len(place.series(study)) == 1
        run(command)
        stored = {one["MainDicomTags"]["SeriesInstanceUID"]: one for one in place.series(study)}
        assert len(stored) == 2 and series in stored
        (derived,) = [one for uid, one in stored.items() if uid != series]
        assert derived["MainDicomTags"]["SeriesDescription"].endswith(descriptions[0])
        assert len(derived["Instances"]) == len(sources)
    assert len(json.loads(place.archive.get("/patients")[1])) == 1

    # what is derived is not fetched to be derived from again, and storing it again adds nothing
    shutil.rmtree(place.folder / "study")
    assert "2 fetched, 1 series left out" in run(web)
    before = json.loads(place.archive.get("/statistics")[1])
    run(blocks("4.")[0])
    assert json.loads(place.archive.get("/statistics")[1]) == before

    run(marked)
    run(blocks("4.")[1])
    assert len(place.series(study)) == 3
    assert {dataset.SyntheticData for dataset in held(place.folder / "study_recalibrated").values()} == {"YES"}

    (pictures,) = blocks("Pictures")
    (place.folder / "pictures").mkdir()
    shutil.copy(next((shared_data / "chest_xray").rglob("*.png")), place.folder / "pictures")
    run(pictures)
    assert place.run("store", place.addresses["web"], "captures")[0] == "1 stored\n"
    assert len(json.loads(place.archive.get("/patients")[1])) == 2

    ways = [web, dimse, move, plain, marked, checked, *blocks("4."), pictures]
    assert sorted(ways) == sorted(blocks("")), "the page has a command that was not run"


@pytest.mark.parametrize("way", ["web", "dimse"])
def test_objects_come_and_go_as_they_are_encoded(way: str, place: Place, shared_data: Path, tmp_path: Path) -> None:
    names = [shared_data / "dicom" / "pydicom-data" / "data_store" / "data" / f"{name}.dcm" for name in ENCODED]
    away = tmp_path / "away"
    away.mkdir()
    for index, name in enumerate(names):
        shutil.copy(name, away / f"no_ending_{index}")
    (away / "notes.txt").write_text("not an image")
    (away / "broken").write_bytes(names[0].read_bytes()[:300])
    cut = (shared_data / "dicom" / SLICES[0]).read_bytes()
    (away / "cut").write_bytes(cut[: len(cut) // 2])
    said = place.run("store", place.addresses[way], away, code=1)
    assert said[0] == "4 stored, 2 failed\n"
    told = said[1].splitlines()
    assert len(told) == 2
    assert told[0].startswith(f"failed: {away / 'broken'}: ")
    assert told[1] == f"failed: {away / 'cut'}: its pixel data is truncated. Make it anew."
    for source in map(pydicom.dcmread, names):
        place.run("fetch", place.addresses[way], source.StudyInstanceUID, "--output_dir", "back")
        came = held(place.folder / "back")[source.SOPInstanceUID]
        same_object(came, source)
        assert came.file_meta.TransferSyntaxUID == source.file_meta.TransferSyntaxUID


def test_what_cannot_be_is_told_in_one_line(place: Place, shared_data: Path) -> None:
    (source,) = place.put(shared_data / "dicom" / SLICES[0])
    study = source.StudyInstanceUID
    web, dimse = place.addresses["web"], place.addresses["dimse"]
    nobody = dimse.replace("FREREC@", "NOBODY@")
    closed = free_port()
    (place.folder / "empty").mkdir()
    told = {
        (f"http://127.0.0.1:{closed}/dicom-web", study): "there is no answer. Check the address",
        (f"dicom://FREREC@127.0.0.1:{closed}/ORTHANC", study): "there is no answer. Check the address",
        ("dicom://FREREC@nowhere.invalid:104/ORTHANC", study): "there is no answer. Check the address",
        (web.replace("dicom-web", "elsewhere"), study): "the archive answers with HTTP 404. Check address and study;",
        (
            dimse.replace("ORTHANC", "OTHER"),
            study,
        ): "refuses a call by FREREC for OTHER (called AE title not",
        (nobody, study): "ends the association without an answer. Check that it still runs, and that it allows NOBODY",
        (dimse.replace(f":{place.archive.dicom_port}", ""), study): "not an address. Write dicom://",
        ("ftp://127.0.0.1", study): "not the address of an archive. Begin it with http://",
        (web, "1.2.3"): "1.2.3: no such study at http",
        (dimse, "1.2.3"): "1.2.3: no such study at dicom",
        (web, "../1.2"): "../1.2: not a UID",
        (web.replace("//", "//frerec:secret@"), study): "the address: user and password do not belong in it.",
    }
    for (address, asked), reason in told.items():
        said = place.run("fetch", address, asked, "--output_dir", "out", code=3)
        assert said[0] == "" and reason in said[1] and said[1].count("\n") == 1, (address, said)
        assert said[1].startswith("fetch stopped: ")
    said = place.run("fetch", web, study, "--output_dir", "out", "--series", "1.2.3", code=3)
    assert "1.2.3: no such series in this study" in said[1]
    for words in (("fetch", web, study, "--output_dir", "out"), ("store", web, shared_data / "dicom" / "highdicom")):
        said = place.run(*words, code=3, NETRC=os.devnull)
        assert "the archive refuses access (HTTP 401). Write user and password for its host into ~/.netrc" in said[1]
    for folder, reason in (("empty", "no DICOM file in it"), ("nowhere", "no such folder")):
        assert reason in place.run("store", web, folder, code=3)[1]
    assert not (place.folder / "out").exists()
    # all of it was the asking: the study is there
    place.run("fetch", web, study, "--output_dir", "out")


@pytest.mark.parametrize("way", ["web", "dimse"])
def test_an_archive_that_dies_on_the_way_loses_nothing(way: str, place: Place, shared_data: Path) -> None:
    files = sorted((shared_data / "dicom" / MANY).rglob("*.dcm"))[:40]
    sources = place.folder / "sources"
    sources.mkdir()
    for file in files:
        shutil.copy(file, sources)
    address, study = place.addresses[way], str(pydicom.dcmread(files[0]).StudyInstanceUID)

    def until(reached: Callable[[], bool], running: subprocess.Popen[str]) -> None:
        give_up = time.monotonic() + PATIENCE_S
        while not reached():
            assert running.poll() is None and time.monotonic() < give_up, running.communicate()
        place.archive.kill()

    def stored() -> int:
        return int(json.loads(place.archive.get("/statistics")[1])["CountInstances"])

    sending = place.start("store", address, sources)
    until(lambda: stored() > 3, sending)
    said = sending.communicate(timeout=PATIENCE_S)
    assert sending.returncode == 4 and said[1].startswith(f"store stopped: {address}: "), said
    assert said[1].count("\n") == 1
    place.archive.start()
    assert 3 < stored() < len(files)
    assert place.run("store", address, sources)[0] == f"{len(files)} stored\n"
    assert stored() == len(files)

    fetching = place.start("fetch", address, study, "--output_dir", "study")
    until(lambda: len(list((place.folder / "study").rglob("*.dcm"))) > 3, fetching)
    said = fetching.communicate(timeout=PATIENCE_S)
    assert fetching.returncode == 4 and said[1].startswith(f"fetch stopped: {address}: "), said
    place.archive.start()
    half = {path: path.read_bytes() for path in (place.folder / "study").rglob("*.dcm")}
    assert 3 < len(half) < len(files)
    said = place.run("fetch", address, study, "--output_dir", "study")
    assert said[0] == f"{len(files) - len(half)} fetched, {len(half)} there before\n"
    assert {path: path.read_bytes() for path in half} == half
    came = held(place.folder / "study")
    for file in files:
        source = pydicom.dcmread(file)
        same_object(came.pop(source.SOPInstanceUID), source)
    assert not came
    assert list((place.folder / "study").rglob(".*")) == []
