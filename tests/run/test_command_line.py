from __future__ import annotations

import json
from pathlib import Path

from frerec.run.command_line import wrong_words


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


def test_names_of_files_may_hold_anything(tmp_path: Path) -> None:
    folder = tmp_path / "a, b [1] = 'c'.json"
    folder.mkdir()
    words = command(folder, "--strenght", "1")
    assert len(wrong_words(words)) == 1
    (folder / "two.json").write_text('{"world_size": 2, "+strength": 1}')
    words = [*words[:3], repr([words[3], str(folder / "two.json")]), "--world_size", "3"]
    assert wrong_words(words) == []
    assert len(wrong_words([*words, "--wrold_size", "3"])) == 1


def test_a_file_of_arguments_counts_as_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "args.json").write_text(
        json.dumps({"config_file": command(tmp_path)[3], "strenght": 0.5, "dataset_dir": "x"})
    )
    words = ["/x/monai/bundle/__main__.py", "run", "--args_file", str(tmp_path / "args.json"), "--strength", "1"]
    (problem,) = wrong_words(words)
    assert str(problem) == "strenght=0.5: the config has no such id. Did you mean strength."
    assert len(wrong_words([*words, "--datset_dir", "y"])) == 2


def test_ids_of_the_experiment_tracking_count_where_it_is_asked_for(tmp_path: Path) -> None:
    words = command(tmp_path, "--experiment_name", "mine", "--trainer#tag_name", "x")
    assert len(wrong_words(words)) == 2
    assert wrong_words([*words, "--tracking", "mlflow"]) == []
    (tmp_path / "tracking.json").write_text('{"handlers_id": {}, "configs": {"colour": 1}}')
    words = command(tmp_path, "--tracking", str(tmp_path / "tracking.json"), "--colour", "2")
    assert wrong_words(words) == []
    (problem,) = wrong_words([*words, "--coluor", "3"])
    assert problem.remedy == "Did you mean colour"
    assert len(wrong_words(command(tmp_path, "--tracking", "gone.json", "--colour", "2"))) == 1


def nested(tmp_path: Path, *words: str) -> list[str]:
    config = tmp_path / "nested.json"
    config.write_text(
        '{"strength": 0.3, "amp": false, "dataset_dir": null, "steps": [{"keys": "image"}],'
        ' "displayable_configs": {"strength": "@strength", "result_dtype": "float32"},'
        ' "network_def": {"_target_": "frerec.rhm.network.FreRecNet", "preset": "small"},'
        ' "loader": {"_target_": "DataLoader"}}'
    )
    return ["/somewhere/monai/bundle/__main__.py", "run", "--config_file", str(config), *words]


def test_a_misspelt_nested_id_is_told(tmp_path: Path) -> None:
    for word, remedy in (
        ("--displayable_configs::strenght", "Did you mean displayable_configs::strength"),
        ("--network_def#wdith", "Did you mean network_def#width"),
        ("--steps::1::keys", "Its ids are in docs/reference/config_ids.md, and frerec <command> --help lists them"),
    ):
        (problem,) = wrong_words(nested(tmp_path, word, "1"))
        assert problem.remedy == remedy
    # arguments that the config leaves at their default, of a component with a signature and of one by a short name
    known = ("--network_def::width", "16", "--loader#prefetch_factor", "2", "--network_def::_disabled_", "True")
    assert wrong_words(nested(tmp_path, *known, "--steps#0#keys", "pred")) == []


def test_an_overlay_may_add_below_ids_of_another_file(tmp_path: Path) -> None:
    (tmp_path / "overlay.json").write_text('{"loader#sampler": {"_target_": "DistributedSampler"}}')
    words = nested(tmp_path, "--loader#sampler#shuffle", "True")
    words[3] = f"['{words[3]}','{tmp_path / 'overlay.json'}']"
    assert wrong_words(words) == []


def test_words_that_belong_to_no_id_are_told(tmp_path: Path) -> None:
    (problem,) = wrong_words(nested(tmp_path, "--dataset_dir", "my", "folder"))
    assert str(problem).startswith("run_id='folder': no id stands before it")
    assert wrong_words(nested(tmp_path, "strength")) == [], "the id of another expression to run is one"


def test_words_as_fire_reads_them(tmp_path: Path) -> None:
    # a hyphen for an underscore, `no` for False, a negative number as value, a folder that looks like a flag
    words = ("--dataset-dir", "x", "--noamp", "--strength", "-1", "--dataset_dir", "-scans")
    assert wrong_words(nested(tmp_path, *words)) == []


def test_two_values_for_one_setting_are_told(tmp_path: Path) -> None:
    both = ("--strength", "0.5", "--displayable_configs::strength")
    (problem,) = wrong_words(nested(tmp_path, *both, "0.7"))
    assert "strength=0.5 is given as well" in str(problem)
    assert wrong_words(nested(tmp_path, *both, "0.5")) == []
    assert wrong_words(nested(tmp_path, *both[2:], "0.7")) == []
