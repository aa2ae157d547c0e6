from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from frerec.run.preflight.paths import check_folders, check_outputs, first_image, image_files

PNG = b"\x89PNG\r\n\x1a\n"


def told(problems: list) -> str:
    assert len(problems) == 1, problems
    return str(problems[0])


def test_missing_empty_and_imageless_folders(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "a.txt").write_text("x")
    (tmp_path / "text" / "b.png").write_text("x")
    (tmp_path / "file.png").write_bytes(PNG)
    assert "no such folder" in told(check_folders({"dataset_dir": str(tmp_path / "a" / "b")}))
    assert f"up to {tmp_path}" in told(check_folders({"dataset_dir": str(tmp_path / "a" / "b")}))
    assert "a file, not a folder" in told(check_folders({"real_dir": str(tmp_path / "file.png")}))
    assert "the folder is empty" in told(check_folders({"synthetic_dir": str(tmp_path / "empty")}))
    assert "none of its 1 files" in told(check_folders({"recalibrated_dir": str(tmp_path / "text")}))
    assert check_folders({"dataset_dir": None, "real_dir": ""}) == []


def test_the_first_readable_image_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("no picture")
    (tmp_path / "b.png").write_bytes(PNG)
    assert first_image("dataset_dir", tmp_path).name == "b.png"


def test_datalists(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(PNG)
    listed = tmp_path / "list.csv"
    listed.write_text("image,split\na.png,train\n")
    assert check_folders({"datalist": str(listed), "real_dir": str(tmp_path)}) == []
    assert told(check_folders({"datalist": str(listed), "split": "test"})).startswith("split='test'")
    listed.write_text("image\ngone.png\n")
    assert "gone.png" in told(check_folders({"datalist": str(listed)}))
    assert "no such datalist" in told(check_folders({"datalist": str(tmp_path / "absent.csv")}))


def test_outputs_keep_clear_of_inputs(tmp_path: Path) -> None:
    inputs = tmp_path / "in"
    inputs.mkdir()
    for output, word in ((inputs, "the same folder"), (inputs / "out", "inside dataset_dir")):
        assert word in told(check_outputs({"output_dir": str(output)}, {"dataset_dir": str(inputs)}, mirrors=False))
    around = {"output_dir": str(tmp_path)}, {"dataset_dir": str(inputs)}
    assert "around dataset_dir" in told(check_outputs(*around, mirrors=True))
    # a report may lie beside the images it is about
    assert check_outputs(*around, mirrors=False) == []
    assert check_outputs({"output_dir": str(tmp_path / "in2")}, {"dataset_dir": str(inputs)}, mirrors=True) == []


def test_outputs_must_be_writable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert "is a file" in told(check_outputs({"output_dir": str(tmp_path / "file")}, {}, mirrors=False))
    assert check_outputs({"weights_path": str(tmp_path / "new" / "model.pt")}, {}, mirrors=False) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs the permissions of a POSIX system")
def test_a_folder_without_write_permission() -> None:
    # In a process that is not root's, since root may write everywhere; and not below pytest's folder, which only its
    # owner may enter.
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o555)
        child = os.fork()
        if child == 0:
            code = 2
            try:
                if os.geteuid() == 0:
                    os.setuid(65534)
                problem = told(check_outputs({"output_dir": str(Path(name) / "out")}, {}, mirrors=False))
                code = 0 if "may not be written to" in problem else 1
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        Path(name).chmod(0o700)


def test_finding_one_image_does_not_list_the_folders_behind_it(tmp_path: Path) -> None:
    for name in ("a/1.png", "b/2.png", "notes.txt", ".hidden.png", "c/.thumbs/3.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(PNG)
    files = image_files(tmp_path)
    assert next(files) == tmp_path / "a" / "1.png"
    # what is found is found on the way
    (tmp_path / "b" / "3.png").write_bytes(PNG)
    assert [path.name for path in files] == ["2.png", "3.png"]


def test_a_file_in_the_place_of_a_parent_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    problem = told(check_outputs({"output_dir": str(tmp_path / "file" / "a" / "b")}, {}, mirrors=False))
    assert f"{tmp_path / 'file'} is a file, not a folder" in problem
    assert "a folder, not a file" in told(check_outputs({"bank_path": str(tmp_path)}, {}, mirrors=False))


def test_a_datalist_that_leads_out_of_a_mirrored_folder(tmp_path: Path) -> None:
    for name in ("in/a.png", "b.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(PNG)
    listed = tmp_path / "list.csv"
    listed.write_text("image\na.png\n../b.png\n")
    values = {"dataset_dir": str(tmp_path / "in"), "datalist": str(listed)}
    problem = told(check_folders(values, mirrors=True))
    assert problem.startswith("datalist=") and "does not lie in dataset_dir" in problem
    assert check_folders(values) == []
