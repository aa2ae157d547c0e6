"""Arms by name."""

from __future__ import annotations

from typing import Any

import pytest

from frerec.errors import ConfigError
from frerec.study.arms import Arm, make_arms, select_arms


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
    for settings in ({"synthetic": dict}, {"synthetic_dir": "somewhere"}):
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
