from __future__ import annotations

import io
import logging
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from frerec.io.quiet import LIBRARIES, quiet_libraries

TALKERS = ("pydicom", "pydicom.pixels.decoders.base", "tifffile", "nibabel.global", "PIL.TiffImagePlugin")


def test_nothing_is_heard_inside_and_everything_outside(caplog: pytest.LogCaptureFixture) -> None:
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        with quiet_libraries():
            warnings.warn("Doe^Jane", UserWarning, stacklevel=1)
            with quiet_libraries():
                pass
            for name in TALKERS:
                logging.getLogger(name).error("Doe^Jane")
            logging.getLogger("another").warning("not a library that reads files")
        assert heard == []
        logging.getLogger("pydicom.dataset").warning("after")
    assert [record.name for record in caplog.records] == ["another", "pydicom.dataset"]


def test_threads_that_end_in_another_order_leave_the_levels_as_they_were() -> None:
    before = {name: logging.getLogger(name).level for name in LIBRARIES}
    inside, leave = threading.Barrier(2), threading.Event()

    def read() -> None:
        with quiet_libraries():
            inside.wait()
            leave.wait()

    thread = threading.Thread(target=read)
    thread.start()
    with quiet_libraries():
        inside.wait()
    assert logging.getLogger("pydicom").level > logging.CRITICAL, "the other one still reads"
    leave.set()
    thread.join()
    assert {name: logging.getLogger(name).level for name in LIBRARIES} == before


READ = """
import sys
from pathlib import Path
from PIL import Image
from frerec.io.quiet import quiet_libraries, quiet_process
if sys.argv[2] == "program":
    quiet_process()
with quiet_libraries():
    try:
        Image.open(sys.argv[1]).load()
    except OSError:
        pass
print("said by Python", file=sys.stderr)
"""


def test_c_libraries_are_heard_only_where_others_speak_too(tmp_path: Path) -> None:
    picture = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    Image.fromarray(pixels).save(picture, "TIFF", compression="tiff_lzw")
    damaged = bytearray(picture.getvalue())
    damaged[300:900] = bytes(value ^ 0x5A for value in damaged[300:900])
    path = tmp_path / "damaged.tif"
    path.write_bytes(damaged)
    heard = {}
    for kind in ("program", "library"):
        done = subprocess.run([sys.executable, "-c", READ, path, kind], capture_output=True, text=True)
        heard[kind] = done.stderr.splitlines()
    assert heard["program"] == ["said by Python"]
    # libtiff writes to the standard error itself; a server or notebook keeps its own
    assert len(heard["library"]) > 1
