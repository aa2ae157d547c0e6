from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from frerec.errors import InputError
from frerec.files import absolute
from frerec.io.datalist import find_images, read_datalist
from frerec.io.listing import find_items, look


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs the permissions of a POSIX system")
def test_a_folder_that_may_not_be_read_is_told() -> None:
    # In a process that is not root's, since root may read everywhere; and not below pytest's folder, which only its
    # owner may enter.
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        (root / "shut").mkdir()
        (root / "a.png").write_bytes(b"1")
        root.chmod(0o755)
        (root / "shut").chmod(0o000)
        child = os.fork()
        if child == 0:
            code = 2
            try:
                if os.geteuid() == 0:
                    os.setuid(65534)
                told = [(one.path, one.problem and one.problem[0]) for one in find_items(root)]
                expected = [("a.png", None), ("shut", "a folder that cannot be read (Permission denied)")]
                code = 0 if told == expected else 1
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        (root / "shut").chmod(0o700)


def test_folders_of_links_may_cross_without_an_end(tmp_path: Path) -> None:
    for own, other in (("a", "b"), ("b", "a")):
        (tmp_path / own).mkdir()
        (tmp_path / own / "x.png").write_bytes(b"1")
        (tmp_path / own / "other").symlink_to(tmp_path / other)
    found = {one.path: one.problem for one in find_items(tmp_path)}
    assert [name for name, problem in found.items() if problem is None] == [
        "a/other/x.png", "a/x.png", "b/other/x.png", "b/x.png",
    ]  # fmt: skip
    assert [name for name, problem in found.items() if problem] == ["a/other/other", "b/other/other"]


def test_the_listing_for_training_follows_links_too(tmp_path: Path) -> None:
    (tmp_path / "store" / "x").mkdir(parents=True)
    (tmp_path / "store" / "x" / "1.png").write_bytes(b"1")
    (tmp_path / "in" / "folder.png").mkdir(parents=True)
    (tmp_path / "in" / "x").symlink_to(tmp_path / "store" / "x")
    assert find_images(tmp_path / "in") == [{"image": str(tmp_path / "in" / "x" / "1.png"), "label": "x"}]


def test_a_name_with_a_line_end_can_be_in_a_datalist(tmp_path: Path) -> None:
    name = 'two\nlines, a "quote"\u2028.png'
    (tmp_path / name).write_bytes(b"1")
    quoted = name.replace('"', '""')
    (tmp_path / "list.csv").write_text(f'image,label\n"{quoted}",x\n', encoding="utf-8")
    assert read_datalist(tmp_path / "list.csv") == [{"image": str(tmp_path / name), "label": "x"}]
    (tmp_path / "list.json").write_text('[{"image": 5}]')
    with pytest.raises(InputError, match="row 1 names no image"):
        read_datalist(tmp_path / "list.json")


def test_two_dots_behind_a_link_mean_what_the_system_means(tmp_path: Path) -> None:
    (tmp_path / "far" / "deep").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "far" / "deep")
    assert absolute(tmp_path / "link" / "x") == tmp_path / "link" / "x"
    assert absolute(tmp_path / "link" / ".." / "x") == tmp_path / "far" / "x"
    assert absolute(tmp_path / "far" / ".." / "x") == tmp_path / "x"


def test_the_kind_of_a_pipe_is_told_without_waiting_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert look(tmp_path / "pipe").error.reason == "no file but a named pipe"
