from __future__ import annotations

from typing import Any

import pytest

from frerec.run.preflight import PreflightError, check, find_problems


def test_sound_settings_pass_in_silence(sound: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    check("inference", required=["dataset_dir", "bank_path"], mirrors=True, **sound)
    assert capsys.readouterr() == ("", "")


def test_all_problems_are_told_at_once_in_plain_lines(
    sound: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = {**sound, "dataset_dir": "", "strength": 2, "top_k": 7, "weights_path": "/does/not/exist.pt"}
    with pytest.raises(SystemExit) as ended:
        check("inference", required=["dataset_dir"], **wrong)
    assert ended.value.code == 3
    assert isinstance(ended.value, PreflightError)
    assert len(ended.value.problems) == 4
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "inference cannot start: 4 problems"
    assert [line.split("=")[0] for line in lines[1:]] == ["- dataset_dir", "- strength", "- top_k", "- weights_path"]
    assert all(line.endswith(".") for line in lines[1:])


def test_consequences_of_a_problem_are_not_told_again(sound: dict[str, Any]) -> None:
    problems = find_problems(**{**sound, "bank_path": "/does/not/exist", "dataset_dir": "/neither"})
    assert [getattr(p, "config_id", None) for p in problems] == ["dataset_dir", "bank_path"]


def test_outputs_need_not_exist(sound: dict[str, Any], tmp_path: Any) -> None:
    values = {**sound, "bank_path": str(tmp_path / "new.safetensors"), "weights_path": str(tmp_path / "new.pt")}
    assert find_problems(outputs=["output_dir", "bank_path", "weights_path"], **values) == []


def test_at_strength_0_without_network_neither_bank_nor_weights_are_needed(sound: dict[str, Any]) -> None:
    values = {**sound, "bank_path": "/gone", "weights_path": "/gone", "strength": 0, "use_network": False}
    assert find_problems(**values) == []


def test_outputs_need_a_value(sound: dict[str, Any]) -> None:
    (problem,) = find_problems(**{**sound, "output_dir": None})
    assert str(problem).startswith("output_dir=None: it is needed and has no value")


def test_one_process_of_a_distributed_run_speaks(
    sound: dict[str, Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank, told in (("0", ["top_k", "device"]), ("1", ["device"])):
        monkeypatch.setenv("RANK", rank)
        with pytest.raises(PreflightError) as ended:
            check("train", **{**sound, "top_k": 0, "device": "cuda:99"})
        assert len(ended.value.problems) == 2
        lines = capsys.readouterr().err.splitlines()[1:]
        assert [line.split("=")[0] for line in lines] == [f"- {key}" for key in told]
