"""A real MONAI Label server, set up by the commands of its page, gives what the library gives: run by run.sh."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from scipy.ndimage import gaussian_filter

import frerec

ROOT = Path(__file__).resolve().parents[2]
BLOCKS = re.findall(r"^```bash\n(.*?)^```$", (ROOT / "docs/how-to/use_with_monai_label.md").read_text(), re.M | re.S)
INSTALL, APP, START, ARCHIVE, ASK = BLOCKS
sys.path.insert(0, str(ROOT / "scripts" / "slicer"))
import FreRecCompare as client  # noqa: E402

AFFINE = np.array([[-0.6, 0.8, 0, 10], [0.8, 0.6, 0, -20], [0, 0, 3, 5], [0, 0, 0, 1]])
PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")


def texture(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Smooth structure and noise from 0 to 255, float32."""
    rng = np.random.default_rng(seed)
    smooth = gaussian_filter(rng.normal(size=shape), 3)
    smooth = (smooth - smooth.min()) / np.ptp(smooth)
    return np.clip(smooth * 200 + 20 + rng.normal(0, 5, shape), 0, 255).astype(np.float32)


def body() -> np.ndarray:
    """A CT phantom (slices, rows, columns) in HU: air around soft tissue with bone in it."""
    y, x = np.mgrid[-1:1:80j, -1:1:72j]
    inside, bone = x**2 / 0.6 + y**2 / 0.7 < 1, (x - 0.2) ** 2 + y**2 < 0.05
    one = np.where(bone, 900, np.where(inside, 40, -1000))
    noise = np.random.default_rng(5).normal(0, 12, (4, *one.shape))
    return np.clip(np.rint(np.stack([one] * 4) + noise), -1024, 3071).astype(np.int16)


def save_series(folder: Path, modality: str, values: np.ndarray, offset: int = 0) -> str:
    """Write slices as a DICOM series; returns its UID."""
    folder.mkdir(parents=True)
    series, study, frame = (pydicom.uid.generate_uid(entropy_srcs=[folder.name, part]) for part in "abc")
    kind = {"CT": "1.2.840.10008.5.1.4.1.1.2", "MR": "1.2.840.10008.5.1.4.1.1.4"}[modality]
    for index, rows in enumerate(values):
        data = Dataset()
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = kind
        uid = pydicom.uid.generate_uid(entropy_srcs=[folder.name, str(index)])
        data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = uid
        data.SeriesInstanceUID, data.StudyInstanceUID, data.FrameOfReferenceUID = series, study, frame
        data.Modality, data.PatientName, data.PatientID = modality, "Phantom^One", "phantom"
        data.StudyDate, data.StudyTime, data.StudyID, data.AccessionNumber = "20200101", "120000", "1", ""
        data.SeriesNumber, data.InstanceNumber = 1, index + 1
        data.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        data.ImageOrientationPatient, data.PixelSpacing, data.SliceThickness = [1, 0, 0, 0, 1, 0], [0.9, 0.7], 2.5
        data.ImagePositionPatient = [-20, -30, 10 + 2.5 * index]
        data.Rows, data.Columns = rows.shape
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 12, 11, 0
        if modality == "CT":
            data.RescaleIntercept, data.RescaleSlope, data.RescaleType = -offset, 1, "HU"
        data.PixelData = (rows.astype(np.int32) + offset).astype("<u2").tobytes()
        data.is_little_endian, data.is_implicit_VR = True, False
        data.save_as(folder / f"{index}.dcm", write_like_original=False)
    return str(series)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Running:
    """A program on a port of this machine, until `stop`; its output goes to a file."""

    def __init__(self, words: list[str], ready: str, log: Path, **options: Any) -> None:
        self.log = log
        with log.open("wb") as stream:
            self.process = subprocess.Popen(words, stdout=stream, stderr=stream, stdin=subprocess.DEVNULL, **options)
        for _ in range(600):
            if self.process.poll() is not None:
                pytest.fail(f"{words[0]} ended with {self.process.returncode}:\n{log.read_text()[-4000:]}")
            try:
                with urllib.request.urlopen(ready, timeout=10):
                    return
            except OSError:
                time.sleep(0.2)
        self.stop()
        pytest.fail(f"{words[0]} did not answer:\n{log.read_text()[-4000:]}")

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@pytest.fixture(scope="session")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The app folder made by the page's second block, and images."""
    root = tmp_path_factory.mktemp("label")
    command = APP.replace("path/to/this/bundle", f'"{ROOT}"')
    subprocess.run(["bash", "-ec", command], cwd=root, check=True, stdout=subprocess.DEVNULL)
    images = root / "my_images"
    images.mkdir()
    gray = texture((72, 90))
    Image.fromarray(gray.astype(np.uint8)).save(images / "gray.png")
    Image.fromarray((gray * 257).astype(np.uint16)).save(images / "deep.png")
    colour = np.stack([texture((64, 80), seed) * share for seed, share in enumerate((1, 0.6, 0.3))], axis=-1)
    Image.fromarray(colour.astype(np.uint8)).save(images / "colour.png")
    nib.save(nib.Nifti1Image(texture((70, 64)).astype(np.int16), AFFINE), images / "flat.nii.gz")
    nib.save(nib.Nifti1Image(texture((70, 64, 1)), AFFINE), images / "slice.nii.gz")
    nib.save(nib.Nifti1Image(texture((60, 66, 5)).astype(np.int16), AFFINE), images / "volume.nii.gz")
    return root


Starter = Callable[..., str]


@pytest.fixture(scope="session")
def start(work: Path) -> Iterator[Starter]:
    """Start a server by the page's command; call it with the studies and further environment variables."""
    running: list[Running] = []

    def start(studies: str | Path, command: str = START, **variables: str) -> str:
        port = free_port()
        command = re.sub(r"(--studies )\S+", lambda found: f"{found[1]}{studies}", command)
        command = f"{command.strip()} --host 127.0.0.1 --port {port}"
        environment = {**os.environ, **variables, "HOME": str(work), "OMP_NUM_THREADS": "1"}
        # in the place of the shell, so that stopping it stops the server
        command = command.replace("\nmonailabel start_server", "\nexec monailabel start_server")
        log = work / f"server_{port}.log"
        words = ["bash", "-ec", command]
        running.append(Running(words, f"http://127.0.0.1:{port}/info/", log, cwd=work, env=environment))
        return f"http://127.0.0.1:{port}"

    yield start
    for server in running:
        server.stop()


@pytest.fixture(scope="session")
def server(start: Starter) -> str:
    return start("my_images")


@pytest.fixture(scope="session")
def library() -> Callable[..., np.ndarray]:
    """What frerec.Recalibrate makes of a file or series, with the first axis x and without a channel of one."""
    models = Path(frerec.bundle_root(), "models")

    def recalibrate(path: Path, channels: int = 1, **settings: Any) -> np.ndarray:
        if channels == 3:
            settings |= {"weights_path": models / "fundus/model.pt", "bank_path": models / "fundus/bank.safetensors"}
            settings.setdefault("mask_ratio", 0.2)  # as the page sets it
        made = frerec.Recalibrate.from_bundle(**settings)(frerec.load_image(path, channels)).numpy().swapaxes(1, 2)
        return np.moveaxis(made, 0, -1) if channels == 3 else made[0]

    return recalibrate


def answer(server: str, tmp_path: Path, model: str = "frerec", **asked: Any) -> nib.Nifti1Image:
    return nib.load(client.ask(server, model, tmp_path / "answer.nii.gz", **asked))


def same(got: np.ndarray, expected: np.ndarray) -> None:
    """Equal but for the order of sums in other batches of Fourier transforms."""
    np.testing.assert_allclose(np.asarray(got), expected, rtol=0, atol=1e-4 * np.ptp(expected))


def test_the_page_names_what_the_server_offers(server: str) -> None:
    with urllib.request.urlopen(f"{server}/info/") as stream:
        found = json.load(stream)["models"]
    assert sorted(found) == client.models(server) == ["frerec", "frerec_fundus"]
    for model in found.values():
        assert model["config"]["model_filename"] == ["model.pt"]
        assert {"strength", "mask_ratio", "transition", "max_gain", "seed", "intensity_range"} <= model["config"].keys()


@pytest.mark.parametrize("name", ["gray.png", "deep.png"])
def test_pictures(server: str, work: Path, library: Any, tmp_path: Path, name: str) -> None:
    path = work / "my_images" / name
    expected = library(path, strength=0.5, mask_ratio=0.3)
    same(answer(server, tmp_path, image=path.stem, strength=0.5, mask_ratio=0.3).dataobj, expected)
    same(answer(server, tmp_path, file=path).dataobj, library(path))


def test_values_are_clipped_and_rounded_to_the_type_asked_for(
    server: str, work: Path, library: Any, tmp_path: Path
) -> None:
    path = work / "my_images" / "deep.png"
    got = np.asarray(answer(server, tmp_path, image="deep", result_dtype="uint8").dataobj)
    assert got.dtype == np.uint8
    assert np.abs(got - np.clip(np.rint(library(path)), 0, 255)).max() <= 1
    expected = np.clip(np.rint(library(work / "my_images" / "gray.png")), 0, 255)
    client.ask(server, "frerec", tmp_path / "a.png", image="gray")
    assert np.abs(np.asarray(Image.open(tmp_path / "a.png"), np.float32).T - expected).max() <= 1


@pytest.mark.parametrize("name", ["flat", "slice", "volume"])
def test_nifti_keeps_its_place(server: str, work: Path, library: Any, tmp_path: Path, name: str) -> None:
    path = work / "my_images" / f"{name}.nii.gz"
    got = answer(server, tmp_path, image=name)
    expected = library(path)
    same(got.dataobj, expected.reshape(*expected.shape[:2], -1))
    np.testing.assert_allclose(got.affine, nib.load(path).affine, atol=1e-5)


def test_colour(server: str, work: Path, library: Any, tmp_path: Path) -> None:
    path = work / "my_images" / "colour.png"
    got = answer(server, tmp_path, "frerec_fundus", image="colour")
    same(got.dataobj, library(path, 3))
    with pytest.raises(client.ServerError, match=r"colour\.png: colour image .* the model frerec_fundus"):
        answer(server, tmp_path, image="colour")
    with pytest.raises(client.ServerError, match="gray image with 1 channel, but 3 wanted"):
        answer(server, tmp_path, "frerec_fundus", image="gray")


def test_requests_at_once_do_not_mix(server: str, work: Path, library: Any, tmp_path: Path) -> None:
    strengths = [0, 0.3, 0.6, 1] * 2
    with ThreadPoolExecutor(8) as pool:
        files = [tmp_path / f"{index}.nii.gz" for index in range(len(strengths))]
        made = list(
            pool.map(lambda at: client.ask(server, "frerec", at[1], image="gray", strength=at[0]),
                     zip(strengths, files, strict=True))
        )  # fmt: skip
    for strength, file in zip(strengths, made, strict=True):
        same(nib.load(file).dataobj, library(work / "my_images" / "gray.png", strength=strength))


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({"image": "nobody"}, "no image of this name is known. Name "),
        ({"image": "gray", "strength": "0.5"}, "strength='0.5': not a number. Use 0 "),
        ({"image": "gray", "strength": 5}, "strength=5: not between 0 and 1. Use 0 "),
        ({"image": "gray", "strength": None}, "strength=None: not a number. Use 0 "),
        ({"image": "gray", "mask_ratio": 0}, "mask_ratio=0: not between 0 and 1, both excluded. Use "),
        ({"image": "gray", "intensity_range": "wide"}, "intensity_range='wide': unknown intensity_range. Use one of "),
        ({"image": "gray", "result_dtype": "lots"}, "result_dtype='lots': not a type of numbers. Use "),
    ],
)
def test_what_a_client_can_mend_is_answered(server: str, tmp_path: Path, asked: dict[str, Any], reason: str) -> None:
    with pytest.raises(client.ServerError) as refused:
        answer(server, tmp_path, **asked)
    assert reason in str(refused.value) and "\n" not in str(refused.value)
    with urllib.request.urlopen(f"{server}/logs/?lines=200&text=true") as stream:
        assert reason in stream.read().decode()
    assert not (tmp_path / "answer.nii.gz").exists()


@pytest.mark.parametrize("name", ["fundus/model.pt", "generator/model.pt"])
def test_weights_that_do_not_fit_are_refused(server: str, work: Path, tmp_path: Path, name: str) -> None:
    (log,) = work.glob(f"server_{server.rpartition(':')[2]}.log")
    told = "FreRecError: these are weights of another network: of its 105 tensors"
    before = log.read_text().count(told)
    with pytest.raises(client.ServerError, match="status 500"):
        answer(server, tmp_path, image="gray", model_filename=name)
    for _ in range(100):  # the answer goes out before the log is written
        if log.read_text().count(told) > before:
            return
        time.sleep(0.1)
    pytest.fail(log.read_text()[-2000:])


def test_the_console_script_of_the_page(server: str, work: Path, tmp_path: Path) -> None:
    command = ASK.replace("path/to/this/bundle", str(ROOT)).replace("http://127.0.0.1:8000", server)
    for name in ("scan_01", "xray"):
        command = command.replace(name, "volume" if name == "scan_01" else str(work / "my_images" / "gray"))
    subprocess.run(["bash", "-ec", command], cwd=tmp_path, check=True)
    with Image.open(tmp_path / "both.png") as both:
        assert both.size == (180, 72)
    left = np.asarray(Image.open(tmp_path / "both.png"))[:, :90].astype(int)
    original = np.asarray(Image.open(work / "my_images" / "gray.png"), np.float32)
    scaled = (original - original.min()) / np.ptp(original) * 255
    assert np.abs(left - scaled).max() < 1
    assert nib.load(tmp_path / "answer.nii.gz").shape == (60, 66, 5)


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, dict[str, tuple[str, Path]]]]:
    """An Orthanc with series of CT and MR: the address of its DICOMweb, and UID and folder by name."""
    program = shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin")
    if program is None or not PLUGIN.is_file():
        pytest.skip("Orthanc is not installed (Debian packages orthanc and orthanc-dicomweb)")
    folder = tmp_path_factory.mktemp("orthanc")
    series = {
        "CT": (save_series(folder / "ct", "CT", body(), 1024), folder / "ct"),
        "MR": (save_series(folder / "mr", "MR", texture((4, 64, 60), 3) * 4), folder / "mr"),
        "one slice": (save_series(folder / "one", "MR", texture((1, 64, 60), 4) * 4), folder / "one"),
    }
    port = free_port()
    settings = {
        "Name": "test", "StorageDirectory": str(folder / "db"), "IndexDirectory": str(folder / "db"),
        "Plugins": [str(PLUGIN)], "DicomWeb": {"Enable": True}, "DicomPort": free_port(), "HttpPort": port,
        "RemoteAccessAllowed": False, "AuthenticationEnabled": False,
    }  # fmt: skip
    (folder / "orthanc.json").write_text(json.dumps(settings))
    address = f"http://127.0.0.1:{port}"
    orthanc = Running([program, str(folder / "orthanc.json")], f"{address}/system", folder / "log")
    try:
        for _, place in series.values():
            for path in sorted(place.iterdir()):
                with urllib.request.urlopen(urllib.request.Request(f"{address}/instances", path.read_bytes())):
                    pass
        yield f"{address}/dicom-web", series
    finally:
        orthanc.stop()


@pytest.fixture(scope="session")
def archive_server(start: Starter, archive: tuple[str, Any]) -> str:
    """The page's commands for an archive; nothing is downloaded."""
    return start(archive[0], ARCHIVE)


@pytest.mark.parametrize("name", ["CT", "MR", "one slice"])
def test_dicomweb(archive_server: str, archive: Any, library: Any, tmp_path: Path, name: str) -> None:
    uid, folder = archive[1][name]
    got = answer(archive_server, tmp_path, image=uid)
    rows, columns = pydicom.dcmread(folder / "0.dcm").pixel_array.shape
    assert got.shape == (columns, rows, len(list(folder.iterdir())))
    same(got.dataobj, library(folder).reshape(got.shape))
    np.testing.assert_allclose(nib.affines.voxel_sizes(got.affine), [0.7, 0.9, 2.5], atol=1e-5)
    np.testing.assert_allclose(got.affine @ [0, 0, 0, 1], [20, 30, 10, 1], atol=1e-4)


def test_dicomweb_by_way_of_nifti_is_on_the_same_scale(
    start: Starter, archive_server: str, archive: Any, tmp_path: Path
) -> None:
    converting = start(
        archive[0],
        ARCHIVE.replace("CONVERT_TO_NIFTI=false", "CONVERT_TO_NIFTI=true"),
        MONAI_LABEL_DICOMWEB_CACHE_PATH=str(tmp_path / "other"),
    )
    for uid, _ in archive[1].values():
        direct = np.asarray(answer(archive_server, tmp_path, image=uid).dataobj)
        by_way = np.asarray(answer(converting, tmp_path, image=uid).dataobj)
        # what the two files can store differs, and that is all: on another scale CT was off by a third of this range
        assert np.abs(by_way - direct).max() < 0.06 * np.ptp(direct)
        assert np.abs(by_way - direct).mean() < 0.01 * np.ptp(direct)


def test_an_unknown_series_is_an_error(archive_server: str, tmp_path: Path) -> None:
    with pytest.raises(client.ServerError, match="status 500"):
        answer(archive_server, tmp_path, image="1.2.3.4")
