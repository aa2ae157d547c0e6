from __future__ import annotations

from pathlib import Path

from frerec.preflight.command_line import wrong_words


def command(tmp_path: Path, *words: str) -> list[str]:
    config = tmp_path / "a config.json"
    config.write_text('{"strength": 0.3, "dataset_dir": null, "evaluator": {"amp": false}}')
    return ["/somewhere/monai/bundle/__main__.py", "run", "--config_file", str(config), *words]


def test_known_ids_pass(tmp_path: Path) -> None:
    words = ("--strength", "0.5", "--dataset_dir=x", "--evaluator#amp", "True", "--evaluator::amp", "True")
    assert wrong_words(command(tmp_path, *words, "--meta_file", "m.json")) == []


def test_a_misspelt_id_is_told_with_the_right_one(tmp_path: Path) -> None:
    (problem,) = wrong_words(command(tmp_path, "--strenght", "0.5"))
    assert str(problem) == "strenght='0.5': the config has no such id. Did you mean strength."
    (problem,) = wrong_words(command(tmp_path, "--xyz=1"))
    assert "config_ids.md" in problem.remedy


def test_ids_of_all_given_configs_count(tmp_path: Path) -> None:
    (tmp_path / "two.json").write_text('{"world_size": 2}')
    words = command(tmp_path, "--world_size", "3")
    words[3] = f"['{words[3]}','{tmp_path / 'two.json'}']"
    assert wrong_words(words) == []


def test_other_programs_are_not_looked_at(tmp_path: Path) -> None:
    assert wrong_words(["pytest", "--strenght", "1"]) == []
    assert wrong_words([]) == []
    assert wrong_words(["/x/monai/bundle/__main__.py", "run", "--strenght", "1"]) == []
    assert wrong_words(command(tmp_path, "--args_file", "a.json", "--strenght", "1")) == []
