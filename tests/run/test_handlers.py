from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from frerec.run.handlers import RunReport
from frerec.run.manifest import Manifest
from frerec.run.outcome import DONE, Outcome


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_problems_are_told_once_and_summed_up(
    tmp_path: Path, plain: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    source, stream = plain.make_folder(tmp_path / "in", count=2), io.StringIO()
    (source / "broken.png").write_bytes(b"")
    (source / "notes.txt").write_text("x")
    report, _ = plain.run(source, tmp_path / "out", stream=stream)
    assert stream.getvalue() == "skipped: broken.png: not a readable picture. Replace it.\n"
    with pytest.raises(SystemExit) as ended:
        report.finish()
    assert ended.value.code == 1
    summary = capsys.readouterr().out
    assert summary.startswith("4 items: 2 done, 0 done before, 1 skipped, 0 failed, 1 no images; ")
    assert "images/s" in summary
    assert summary.endswith(f"{tmp_path / 'out' / 'manifest.jsonl'}\n")


def test_each_kind_of_warning_is_told_once() -> None:
    stream = io.StringIO()
    report = RunReport(3, Manifest("m", {}), stream=stream)
    outcomes = [
        Outcome(f"{i}.png", DONE, warnings=[f"{i} values lay beyond", *(["unlike the bank"] if i else [])])
        for i in range(3)
    ]
    report.iteration_completed(SimpleNamespace(state=SimpleNamespace(output=outcomes)))  # type: ignore[arg-type]
    told = stream.getvalue().splitlines()
    assert [line.split(" (told")[0] for line in told] == ["0.png: 0 values lay beyond", "1.png: unlike the bank"]


def test_a_good_run_returns(tmp_path: Path, plain: SimpleNamespace) -> None:
    report, _ = plain.run(plain.make_folder(tmp_path / "in", count=1), tmp_path / "out")
    assert report.finish() == 0


def test_nothing_done_is_told_apart(tmp_path: Path, plain: SimpleNamespace) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "broken.png").write_bytes(b"")
    stream = io.StringIO()
    report, _ = plain.run(tmp_path / "in", tmp_path / "out", stream=stream)
    with pytest.raises(SystemExit) as ended:
        report.finish()
    assert ended.value.code == 2
    assert "nothing could be done" in stream.getvalue()


def test_a_terminal_sees_a_bar(tmp_path: Path, plain: SimpleNamespace) -> None:
    stream = Terminal()
    plain.run(plain.make_folder(tmp_path / "in", count=4), tmp_path / "out", stream=stream)
    assert "4/4" in stream.getvalue()


def test_warnings_are_counted(tmp_path: Path, plain: SimpleNamespace) -> None:
    class Save(plain.Save):
        def __call__(self, data: dict) -> dict:
            data = super().__call__(data)
            return {**data, "saved": [replace(data["saved"][0], warnings=("values were clipped",))]}

    folder = plain.make_folder(tmp_path / "in", count=2)
    report, manifest = plain.run(folder, tmp_path / "out", saver=Save(tmp_path / "out"))
    assert "2 done (2 with a warning)" in report.summary()
    assert manifest.previous()["image_00.png"]["warnings"] == ["values were clipped"]
