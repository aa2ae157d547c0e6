"""Ask a MONAI Label server for a recalibrated image and see it beside the original.

MONAI Label's own plugins for 3D Slicer and OHIF take every answer for a label map. This file does not, and is two:

- a command line tool that needs Python alone, and for ``--picture`` also frerec, nibabel and Pillow:

      python FreRecCompare.py --server http://127.0.0.1:8000 --image scan_01 --set strength=0.5 --output answer.nii.gz
      python FreRecCompare.py --server http://127.0.0.1:8000 --file xray.png --output answer.nii.gz --picture both.png

- a scripted module of 3D Slicer: add this folder under Edit, Application Settings, Modules, Additional module paths,
  and restart. It sends the chosen volume and loads the answer as a volume beside it.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import urllib.error
import urllib.request
import uuid
from pathlib import Path
from urllib.parse import quote

TIMEOUT = 600.0  # seconds; MONAI Label's own


class ServerError(Exception):
    """What the server answered instead of an image, or why it did not answer."""


def post(url: str, fields: dict[str, str], file: Path | None = None) -> bytes:
    """Send a form, with a file where there is one; returns the body of the answer."""
    boundary = uuid.uuid4().hex
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    if file is not None:
        # the server tells the format by the ending; the name itself may hold anything and says who the patient is
        ending = "".join(Path(file).suffixes[-2:]) if file.name.endswith(".gz") else file.suffix
        head = f'Content-Disposition: form-data; name="file"; filename="image{ending}"\r\n'
        head += "Content-Type: application/octet-stream\r\n\r\n"
        parts += [f"--{boundary}\r\n{head}".encode(), file.read_bytes(), b"\r\n"]
    body = b"".join([*parts, f"--{boundary}--\r\n".encode()])
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    return fetch(urllib.request.Request(url, body, headers))


def fetch(request: urllib.request.Request | str) -> bytes:
    """The body of an answer; a ServerError in one line for anything else."""
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
            return bytes(answer.read())
    except urllib.error.HTTPError as error:
        text = error.read().decode("utf-8", "replace")
        try:
            text = str(json.loads(text)["detail"])
        except (ValueError, KeyError, TypeError):
            text = f"status {error.code}, {text.strip()}. The reason is in the console of the server"
        raise ServerError(text) from error
    except OSError as error:
        raise ServerError(f"no answer: {error}. Check --server, and that the server runs") from error


def models(server: str) -> list[str]:
    """Names of the server's models."""
    return sorted(json.loads(fetch(f"{server.rstrip('/')}/info/"))["models"])


def ask(server: str, model: str, output: Path, image: str = "", file: Path | None = None, **settings: object) -> Path:
    """Ask for a recalibrated image.

    Args:
        server: address of the server.
        model: the server's name for the bundle.
        output: the file to write; its ending chooses the format: .nii.gz, .nii, .nrrd, and for gray pictures .png.
        image: id of an image that the server has, of a DICOMweb archive the Series Instance UID; or
        file: an image to send: NIfTI, a picture, or a single DICOM file.
        settings: of the model, such as strength=0.5; result_dtype="uint8" rounds to that type.

    Returns:
        ``output``.
    """
    ending = "".join(output.suffixes[-2:]) if output.name.endswith(".gz") else output.suffix
    if ending == ".png":
        settings.setdefault("result_dtype", "uint8")
    params = json.dumps({"result_extension": ending, **settings})
    url = f"{server.rstrip('/')}/infer/{quote(model)}?image={quote(image)}&output=image"
    output.write_bytes(post(url, {"params": params}, file))
    return output


def save_picture(original: Path, answer: Path, picture: Path) -> None:
    """Both images side by side on the gray scale of the original; of volumes the middle slice."""
    import nibabel  # type: ignore[import-untyped]
    import numpy
    from PIL import Image

    import frerec

    before = numpy.moveaxis(frerec.load_image(original, label_maps="accept").numpy(), 0, -1)
    after = numpy.asarray(nibabel.load(answer).dataobj).swapaxes(0, 1)
    if before.ndim == 4:
        before, after = before[..., before.shape[2] // 2, :], after[..., after.shape[2] // 2]
    after = after.reshape(*after.shape[:2], -1)
    low, high = float(before.min()), float(before.max())
    both = numpy.concatenate([numpy.broadcast_to(before, after.shape), after], axis=1)
    gray = numpy.clip((both - low) / (high - low) * 255, 0, 255).round().astype(numpy.uint8)
    Image.fromarray(gray[..., 0] if gray.shape[-1] == 1 else gray).save(picture)


def value_of(text: str) -> tuple[str, object]:
    """A setting from ``name=value``."""
    name, separator, value = text.partition("=")
    if not separator:
        raise argparse.ArgumentTypeError(f"{text!r} is not name=value, such as strength=0.5")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def main(words: list[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--server", default="http://127.0.0.1:8000")
    parser.add_argument("--model", default="frerec")
    given = parser.add_mutually_exclusive_group(required=True)
    given.add_argument("--image", default="", help="id of an image of the server")
    given.add_argument("--file", type=Path, help="an image file to send")
    parser.add_argument("--set", action="append", default=[], type=value_of, metavar="NAME=VALUE", dest="settings")
    parser.add_argument("--output", type=Path, required=True, help="file to write: .nii.gz, .nrrd, or .png")
    parser.add_argument("--picture", type=Path, help="PNG of original and answer; needs a NIfTI --output")
    told = parser.parse_args(words)
    try:
        ask(told.server, told.model, told.output, told.image, told.file, **dict(told.settings))
        if told.picture:
            original = told.file
            with tempfile.TemporaryDirectory() as folder:
                if original is None:
                    original = Path(folder, "original")
                    original.write_bytes(fetch(f"{told.server.rstrip('/')}/datastore/image?image={quote(told.image)}"))
                save_picture(original, told.output, told.picture)
    except (ServerError, OSError) as error:
        print(f"FreRecCompare: {error}", file=sys.stderr)
        return 1
    return 0


try:
    import ctk
    import qt
    import slicer
    from slicer.ScriptedLoadableModule import ScriptedLoadableModule, ScriptedLoadableModuleWidget
except ImportError:
    pass  # not in 3D Slicer
else:

    class FreRecCompare(ScriptedLoadableModule):
        """The module as 3D Slicer lists it."""

        def __init__(self, parent: object) -> None:
            super().__init__(parent)
            self.parent.title = "FreRec Compare"
            self.parent.categories = ["Filtering"]
            self.parent.contributors = ["FreRec"]
            self.parent.helpText = "Asks a MONAI Label server for a recalibrated volume and shows both."

    class FreRecCompareWidget(ScriptedLoadableModuleWidget):
        """Server, model, strength and volume; one button."""

        def setup(self) -> None:
            super().setup()
            box = ctk.ctkCollapsibleButton()
            box.text = "Recalibrate"
            self.layout.addWidget(box)
            form = qt.QFormLayout(box)
            self.server, self.model = qt.QLineEdit("http://127.0.0.1:8000"), qt.QLineEdit("frerec")
            self.strength = ctk.ctkSliderWidget()
            self.strength.minimum, self.strength.maximum, self.strength.singleStep = 0, 1, 0.05
            self.strength.value = 1
            self.volume = slicer.qMRMLNodeComboBox()
            self.volume.nodeTypes = ["vtkMRMLScalarVolumeNode"]
            self.volume.setMRMLScene(slicer.mrmlScene)
            button = qt.QPushButton("Ask")
            button.connect("clicked()", self.run)
            for label, widget in (("Server", self.server), ("Model", self.model), ("Strength", self.strength),
                                  ("Volume", self.volume), ("", button)):  # fmt: skip
                form.addRow(label, widget)
            self.layout.addStretch(1)

        def run(self) -> None:
            """Send the volume, load the answer as a volume, and show the two side by side."""
            volume = self.volume.currentNode()
            if volume is None:
                slicer.util.errorDisplay("Choose a volume first.")
                return
            with tempfile.TemporaryDirectory() as folder, slicer.util.tryWithErrorDisplay("", waitCursor=True):
                sent = Path(folder, "image.nii.gz")
                slicer.util.saveNode(volume, str(sent))
                got = Path(folder, "answer.nii.gz")
                ask(self.server.text, self.model.text, got, file=sent, strength=self.strength.value)
                answer = slicer.util.loadVolume(str(got), {"name": f"{volume.GetName()} recalibrated"})
                layout = slicer.app.layoutManager()
                layout.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutSideBySideView)
                for view, node in (("Red", volume), ("Yellow", answer)):
                    widget = layout.sliceWidget(view)
                    widget.mrmlSliceNode().SetOrientation("Axial")
                    widget.sliceLogic().GetSliceCompositeNode().SetBackgroundVolumeID(node.GetID())
                    widget.sliceLogic().FitSliceToAll()


if __name__ == "__main__":
    sys.exit(main())
