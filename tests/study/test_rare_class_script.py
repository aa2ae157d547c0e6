"""scripts/measure_rare_class.py on pictures: stopped in a line, it goes on, and no run is done twice."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from sklearn.metrics import average_precision_score, roc_auc_score


def test_a_plan_is_done_once_and_resumed(pictures: Any, bundle_root: Path, tmp_path: Path) -> None:
    rows = [*pictures("train", 20), *pictures("val", 6), *pictures("test", 10)]
    with (tmp_path / "list.csv").open("w", newline="") as stream:
        table = csv.DictWriter(stream, ["image", "label", "split", "patient"])
        table.writeheader()
        table.writerows(rows)
    made = str(Path(pictures("made", 20)[0]["image"]).parents[1])
    shared = {"set": "stripes", "datalist": str(tmp_path / "list.csv"), "synthetic_dir": made}
    plan = [{**shared, "generator": name, "rare_class": "class1"} for name in ("one", "other")]
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    command = [
        sys.executable, str(bundle_root / "scripts" / "measure_rare_class.py"), "--plan", str(tmp_path / "plan.json"),
        "--output", str(tmp_path / "out"), "--fractions", "0.25", "--arms", "RAW", "GDA", "--seeds", "2",
        "--image_size", "32", "--max_steps", "10",
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    results = tmp_path / "out" / "results.jsonl"
    found = [json.loads(text) for text in results.read_text().splitlines()]
    assert [(row["generator"], row["arm"], row["seed"]) for row in found] == [
        (generator, arm, seed) for seed in (0, 1) for generator in ("one", "other") for arm in ("RAW", "GDA")
    ]
    runs = {path.name: json.loads(path.read_text()) for path in (tmp_path / "out" / "stripes" / "runs").iterdir()}
    assert len(runs) == 4, "the generators have the same images here, and RAW has none"
    for row in found:
        run = runs[row["run"]]
        scores = [p[1] for p in run["probabilities"]]
        assert abs(row["auc"] - roc_auc_score(run["labels"], scores)) < 1e-4
        assert abs(row["average_precision"] - average_precision_score(run["labels"], scores)) < 1e-4
        assert (row["n_real"], row["n_synthetic"]) == (25, 15 * (row["arm"] == "GDA"))
        assert ("probe_filtered" in row) == (row["arm"] == "GDA")
    whole = results.read_text()
    results.write_text(whole[:-40])
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert "8 runs planned, 7 done, 1 to do" in done.stderr
    assert results.read_text() == whole
