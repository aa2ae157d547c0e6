"""Run the main job and the fast tests with the oldest or the newest releases that pyproject.toml allows.

    python scripts/check_versions.py oldest --python python3.10
    python scripts/check_versions.py newest --python python3.13

Makes an environment, installs the package into it, runs the three commands of the README's main job on a small set
and the tests that need neither long training nor real images, and prints a row for docs/reference/versions.md.
PyTorch for a Python without a CPU build at hand is a download of several gigabytes.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SHOWN = ("torch", "monai", "numpy", "pydicom", "pillow", "nibabel")
FAST_TESTS = (
    "tests/spectrum", "tests/imaging", "tests/shr", "tests/rhm", "tests/workflow", "tests/preflight",
    "tests/bundle/test_configs.py", "tests/bundle/test_paths.py", "tests/bundle/test_applied_settings.py",
    "tests/bundle/test_failures.py",
)  # fmt: skip
# Tools of the tests alone, whose age promises nothing to a user.
TOOLS = ("pytest", "pytest-xdist", "hypothesis", "psutil", "pynetdicom", "itk", "simpleitk", "torchmetrics")


def requirements() -> list[str]:
    """The dependencies of pyproject.toml, read without a TOML parser, which Python 3.10 lacks."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    block = re.search(r"^dependencies = \[(.*?)^\]", text, re.M | re.S)
    assert block is not None
    return re.findall(r'^\s*"([^"]+)"', block[1], re.M)


def oldest() -> list[str]:
    """Each dependency at its lower bound."""
    return [requirement.split(",")[0].replace(">=", "==") for requirement in requirements()]


def versions(python: Path) -> dict[str, str]:
    """The versions that an environment has."""
    code = (
        "import json, platform; from importlib.metadata import version; "
        f"print(json.dumps({{'python': platform.python_version(), **{{n: version(n) for n in {SHOWN!r}}}}}))"
    )
    return json.loads(subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout)


def main_job(python: Path, folder: Path) -> str:
    """Generate, recalibrate and audit a few images; returns how it went."""
    began = time.monotonic()
    generated, recalibrated, report = (folder / name for name in ("generated", "recalibrated", "report"))
    small = ("--features_epochs", "1", "--cnn_steps", "10", "--bootstrap_draws", "50")
    steps = (
        ("generate", "--output_dir", generated, "--count", "8"),
        ("inference", "--dataset_dir", generated, "--output_dir", recalibrated),
        ("evaluate", "--synthetic_dir", generated, "--recalibrated_dir", recalibrated, "--output_dir", report, *small),
    )
    for config, *words in steps:
        command = [python, "-m", "monai.bundle", "run", "--config_file", ROOT / "configs" / f"{config}.json", *words]
        if subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL).returncode:
            return f"{config}.json failed"
    assert json.loads((report / "metrics.json").read_text(encoding="utf-8"))
    return f"done in {time.monotonic() - began:.0f} s"


def tests(python: Path) -> str:
    """Run the fast tests; returns pytest's count."""
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *FAST_TESTS]
    done = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    print(done.stdout[-6000:], flush=True)
    counts = re.findall(r"\d+ (?:passed|failed|skipped|errors?)", done.stdout.splitlines()[-1])
    return ", ".join(counts) or "did not finish"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("which", choices=("oldest", "newest"))
    parser.add_argument("--python", default=sys.executable, help="the interpreter of the environment")
    parser.add_argument("--environment", type=Path, help="where it is kept; used as it is if it is there already")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        place = (options.environment or Path(scratch) / "environment").absolute()
        python = place / "bin" / "python"
        if not python.exists():
            subprocess.run([options.python, "-m", "venv", place], check=True)
            wanted = oldest() if options.which == "oldest" else ["--upgrade", *requirements()]
            subprocess.run([python, "-m", "pip", "install", "--quiet", *wanted, *TOOLS], check=True)
            subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps", "--editable", ROOT], check=True)
        os.environ["PYTHONPATH"] = str(ROOT / "bundle")
        job = main_job(python, Path(scratch))
        found = [*versions(python).values(), job, tests(python)]
    print("| set | Python | " + " | ".join(SHOWN) + " | main job | fast tests |")
    print(f"| {options.which} | " + " | ".join(found) + " |")
    return 0 if job.startswith("done") and "failed" not in found[-1] and "error" not in found[-1] else 1


if __name__ == "__main__":
    raise SystemExit(main())
