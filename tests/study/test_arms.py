"""Arms, and the inference steps as one of their transforms."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from monai.data import MetaTensor

from frerec.errors import ConfigError
from frerec.study.arms import Arm, make_arms, select_arms
from frerec.study.cache import fingerprint
from frerec.study.recalibration import Recalibrate


class Note:
    """Adds 1 and a remark in the meta."""

    def __call__(self, data: dict[str, Any]) -> dict[str, Any]:
        image = MetaTensor(data["image"].as_tensor() + 1, meta={**data["image"].meta, "drawn": 5})
        return {**data, "image": image}


class Add:
    """Adds to ``pred`` what the remark says."""

    def __call__(self, data: dict[str, Any]) -> dict[str, Any]:
        return {**data, "pred": data["pred"] + data["image"].meta["drawn"]}


class Double(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.factor = torch.nn.Parameter(torch.tensor(2.0))
        self.dropout = torch.nn.Dropout(0.9)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert x.ndim == 4, "a batch"
        return self.dropout(self.factor * x)


def picture() -> MetaTensor:
    return MetaTensor(torch.full((1, 4, 4), 0.5), meta={"source": "kept"})


def test_steps_run_in_the_order_of_inference() -> None:
    data = {"image": picture()}
    found = Recalibrate(Note(), Double(), lambda x, network: network(x) + 10, Add())(data)
    # (0.5 + 1) * 2 + 10 + 5, with dropout switched off
    assert torch.equal(torch.as_tensor(found["pred"]), torch.full((1, 4, 4), 18.0))
    assert found["image"].meta["source"] == "kept"
    assert torch.equal(data["image"].as_tensor(), picture().as_tensor()), "the input is left alone"
    assert torch.equal(torch.as_tensor(Recalibrate(Note())(data)["pred"]), torch.full((1, 4, 4), 1.5))


def test_weights_and_steps_decide_the_fingerprint_and_the_device_does_not() -> None:
    one, two = Double(), Double()
    assert fingerprint(Recalibrate(Note(), one)) == fingerprint(Recalibrate(Note(), two, device=torch.device("cpu")))
    with torch.no_grad():
        two.factor += 1
    prints = [
        Recalibrate(Note(), one),
        Recalibrate(Note(), two),
        Recalibrate(None, one),
        Recalibrate(Note(), one, None, Add()),
    ]
    assert len({fingerprint(step) for step in prints}) == 4


def test_arms_are_chosen_by_name() -> None:
    arms = [Arm("RAW", False), Arm("GDA"), Arm("both")]
    assert [arm.name for arm in select_arms(arms, None)] == ["RAW", "GDA", "both"]
    assert [arm.name for arm in select_arms(arms, ["both", "RAW"])] == ["both", "RAW"]
    for names, message in ((["GAD"], "no such arm"), (["GDA", "GDA"], "named twice")):
        with pytest.raises(ConfigError, match=message):
            select_arms(arms, names)
    with pytest.raises(ConfigError, match="one name"):
        select_arms([*arms, Arm("GDA")], None)


def test_an_arm_that_contradicts_itself_is_refused() -> None:
    for settings in ({"synthetic": Note()}, {"synthetic_dir": "somewhere"}):
        with pytest.raises(ConfigError, match="uses none"):
            Arm("RAW", False, **settings)


def test_only_what_an_arm_needs_is_opened() -> None:
    class Untouched:
        mask_ratio = 0.25

        def stage(self, name: str) -> Any:
            raise AssertionError(f"{name} was made")

    names = ["RAW", "RAW balanced", "RAW+AUG", "GDA", "GDA all classes", "GDA+HIST", "GDA+FDA high", "FULL"]
    arms = {arm.name: arm for arm in make_arms(names, Untouched())}  # type: ignore[arg-type]
    assert [name for name, arm in arms.items() if arm.uses_synthetic] == names[3:7]
    assert arms["RAW balanced"].balanced
    assert arms["GDA all classes"].fill_classes == "all"
    assert arms["FULL"].uses_all_real
    assert arms["GDA+FDA high"].synthetic.limit == 0.25  # type: ignore[union-attr]
    (given,) = make_arms(["GDA+FreRec"], Untouched(), synthetic_frerec_dir="made")  # type: ignore[arg-type]
    assert (given.synthetic, given.synthetic_dir) == (None, "made")
    with pytest.raises(ConfigError, match=r"arm_names='GDA\+X'.*Choose from RAW"):
        make_arms(["GDA+X"], Untouched())  # type: ignore[arg-type]
