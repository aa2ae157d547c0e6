from __future__ import annotations

from typing import Any

import pytest
import torch

from frerec.run.preflight.values import check_values


@pytest.mark.parametrize(
    ("key", "good", "bad"),
    [
        ("mask_ratio", [0.1, 0.5], [0, 1, -1, "half", float("nan")]),
        ("strength", [0, 0.3, 1], [-0.1, 1.1, None.__class__, True]),
        ("top_k", [1, 200], [0, 2.5, "all"]),
        ("bands", [None, 1, 32], [0, -1]),
        ("batch_size", [1], [0, 1.5]),
        ("num_workers", [0, 4], [-1]),
        ("seed", [0, 7], [-1, "x"]),
        ("max_epochs", [1], [0]),
        ("channels", [1, 3], [0]),
        ("spatial_dims", [2, 3], [1, 4]),
        ("preset", ["compact", "small", "paper", None], ["big"]),
        ("mode", ["replace", "amplitude"], ["phase"]),
        ("transition", [0, 0.3], [-1]),
        ("max_gain", [1, 2.5], [0.5]),
        ("method", ["descriptor", "ssim"], ["best"]),
        ("intensity_range", ["auto", "window"], ["max"]),
        ("output_format", ["same", "dicom"], ["jpeg"]),
        ("generator", [None, {"model": "StyleGAN3"}], [{"name": "x"}, 5, {"model": "\n"}]),
        ("sub_batch_size", [1, 8], [0]),
        ("overwrite", [True, False], ["true", "false", 1]),
        ("synthetic", [True, False, "auto"], ["yes"]),
        ("count", [1, 48], [0, 2.5]),
        ("learning_rate", [None, 1e-3], [0, -1, "x", float("inf")]),
        ("image_size", [None, 64, [64, 64], (64, 64, 32)], [[0, 64], "64x64", [64.5, 64], []]),
        ("classes", [None, ["a"]], ["a", []]),
        ("class_names", [["a", "b"]], ["ab", None]),
        ("rare_class", ["pneumonia", 1, None], [True, ["a"]]),
        ("rare_fraction", [0.1, [0.05, 0.2]], [0, 2, [0.1, 3], "few"]),
        ("fill", ["balance", 3, 0.5], [0, "full", True]),
        ("fill_classes", ["rare", "all"], ["none", None]),
        ("label_fractions", [[0.1, 1.0]], [["a"], [], 0.25, [3]]),
        ("ema_momentum", [0.001, 0.5], [0, 1, "x"]),
        ("synthetic_ratio", [1.0, [0.5, 2]], ["a", 0, [1, -1]]),
        ("append", [True], ["yes"]),
        ("pixel_loss", ["l1"], ["l3"]),
        ("seed", [1], [None]),
        ("dataset_dir", ["x", None], [True, 2024, ("a", "b"), "a\0b"]),
        ("bank_path", ["x.safetensors"], [True, 1.5]),
        ("datalist", ["x.csv"], [["a.png"]]),
        ("device", ["cpu", torch.device("cpu")], ["gpu", "cuda:x", 3.5]),
    ],
)
def test_ranges(key: str, good: list[Any], bad: list[Any]) -> None:
    for value in good:
        assert check_values([], {key: value}) == []
    for value in bad:
        (problem,) = check_values([], {key: value})
        assert problem.config_id.split(".")[0] == key
        assert str(problem).startswith(key)


def test_required_ids_need_a_value() -> None:
    problems = check_values(["dataset_dir", "bank_path"], {"dataset_dir": None, "bank_path": "x"})
    assert [str(problem) for problem in problems] == [
        "dataset_dir=None: it is needed and has no value. Give it with --dataset_dir."
    ]


def test_shards() -> None:
    assert check_values([], {"shard_index": 1, "shard_count": 2}) == []
    (problem,) = check_values([], {"shard_index": 2, "shard_count": 2})
    assert "the shards are 0 to 1" in str(problem)


def test_a_gpu_that_is_not_there() -> None:
    last = torch.cuda.device_count()
    (problem,) = check_values([], {"device": f"cuda:{last}"})
    assert problem.config_id == "device"
    assert "--device cpu" in problem.remedy or "cuda:0" in problem.remedy
