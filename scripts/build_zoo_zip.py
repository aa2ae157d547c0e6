"""Build the zip that ``monai.bundle download`` gets, and check it by the rules of MONAI's model zoo.

    pip install -e ".[zoo]"
    python scripts/build_zoo_zip.py --output_dir dist

What ships is copied, its Python files are sorted and formatted as the zoo wants them (a change of layout only), and the
copy is held against the zoo's rules: necessary files and keys, sizes, versions, metadata schema, code style. Then the
zip is served on this machine, downloaded as a user would, and run: shapes, TorchScript by tracing, the properties
other programs ask for, and inference.json on two generated images. A line for each step; exit code 1 and a line for
each problem if there are any.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from monai.bundle import ConfigParser, verify_metadata

ROOT = Path(__file__).resolve().parents[1]
SCHEMA = ROOT / "tests" / "bundle" / "metadata_schema.json"
#: Tests and tools of development stay in the repository.
SHIPPED = (
    ".dockerignore", "CHANGELOG.md", "Dockerfile", "LICENSE", "MANIFEST.in", "README.md", "bundle", "configs",
    "constraints.txt", "docs", "models", "pyproject.toml", "setup.py",
)  # fmt: skip
NECESSARY = ("LICENSE", "configs/metadata.json", "configs/inference.json", "models/model.pt", "docs/README.md",
             "docs/data_license.txt")  # fmt: skip
LARGEST = 25 * 2**20
#: Ids that the zoo wants to find in a config.
KEYS = {
    "inference": ("bundle_root", "device", "network_def", "inferer", "output_dir"),
    "train": (
        "bundle_root", "device", "dataset_dir", "output_dir", "val_interval", "train#trainer",
        "train#trainer#max_epochs", "train#dataset", "train#dataset#data", "train#handlers", "train#inferer",
        "validate#evaluator", "validate#handlers", "validate#dataset", "validate#dataset#data", "validate#key_metric",
    ),
}  # fmt: skip
#: The zoo's settings of its formatters and linter.
BLACK = ("--line-length", "120", "--skip-magic-trailing-comma", "--quiet")
ISORT = ("--profile", "black", "--line-length", "120", "--project", "models", "--quiet")
FLAKE8 = ("--isolated", "--max-line-length", "120", "--select", "B,C,E,F,N,P,T4,W,B9",
          "--ignore", "E203,E501,E741,W503,W504,C408,N812,B023",
          "--per-file-ignores", "__init__.py: F401, __main__.py: F401")  # fmt: skip
PLUGINS = ("flake8-bugbear", "flake8-comprehensions", "pep8-naming")
#: What the zoo runs on a bundle, in a process that finds the package in the downloaded folder.
PROBE = """
import sys, torch, frerec
from pathlib import Path
from monai.bundle import ckpt_export, create_workflow, load, verify_net_in_out
from monai.bundle.properties import InferProperties, MetaProperties
root, work = Path(sys.argv[1]), Path(sys.argv[2])
assert Path(frerec.__file__).is_relative_to(root), frerec.__file__
paths = {"config_file": str(root / "configs/inference.json"), "meta_file": str(root / "configs/metadata.json")}
verify_net_in_out("network_def", device="cpu", bundle_root=str(root), **paths)
ckpt_export("network_def", str(work / "model.ts"), ckpt_file=str(root / "models/model.pt"), bundle_root=str(root),
            use_trace=True, **paths)
torch.jit.load(work / "model.ts")
workflow = create_workflow(workflow_type="infer", bundle_root=str(root), **paths)
workflow.properties = {**MetaProperties, **InferProperties}
missing = workflow.check_properties()
assert not missing, f"the workflow lacks {missing}"
load(root.name, bundle_dir=root.parent, workflow_type="inference", device="cpu")
"""


def files_below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def copy_shipped(root: Path, folder: Path) -> None:
    """Copy what ships and git knows of; without git, what is no product of a run."""
    listed = subprocess.run(["git", "-C", root, "ls-files", "-z", "--", *SHIPPED], capture_output=True, text=True)
    names = [name for name in listed.stdout.split("\0") if name] if listed.returncode == 0 else []
    if not names:
        made = re.compile(r"(^|/)(__pycache__|build|[^/]+\.egg-info)/")
        names = [path.relative_to(root).as_posix() for path in files_below(root)]
        names = [name for name in names if name.split("/")[0] in SHIPPED and not made.search(name)]
    for name in names:
        if (root / name).is_file():  # one that is deleted and not yet committed is still listed
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / name, folder / name)


def style_problems(zoo: Path) -> list[str]:
    """Sort imports and format the Python files as the zoo does, from its root, and ask its linter."""
    # the settings are given in full: those of a file in a folder around do not count
    (zoo / "pyproject.toml").write_text("[tool.black]\n")
    isort = ("isort", "--settings-path", ".", *ISORT)
    for words in (isort, ("black", "--config", "pyproject.toml", *BLACK), (*isort, "--check")):
        _tool(zoo, *words, "models")
    return _tool(zoo, "flake8", *FLAKE8, "models", check=False).splitlines()


def _tool(folder: Path, name: str, *words: str, check: bool = True) -> str:
    done = subprocess.run([sys.executable, "-m", name, *words], cwd=folder, capture_output=True, text=True)
    if check and done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def rule_problems(folder: Path) -> Iterator[str]:
    """What the zoo would refuse, without running anything."""
    yield from (f"{name} is missing" for name in NECESSARY if not (folder / name).is_file())
    if "_v" in folder.name:
        yield f"{folder.name}: the zoo parts name and version at '_v'"
    for path in files_below(folder):
        if path.stat().st_size > LARGEST:
            yield f"{path.relative_to(folder)} is larger than 25 MB; the zoo wants it in large_files.yml"
    yield from (f"{page} links to {target}, which does not ship" for page, target in dead_links(folder))
    for name, ids in KEYS.items():
        config = ConfigParser.load_config_file(folder / "configs" / f"{name}.json")
        parser = ConfigParser(config)
        yield from (f"configs/{name}.json lacks {key}" for key in ids if key not in parser)
    yield from metadata_problems(folder / "configs" / "metadata.json")


def metadata_problems(path: Path) -> Iterator[str]:
    """What is wrong with the metadata by its schema and its changelog."""
    if not path.is_file():
        return
    try:
        verify_metadata(meta_file=str(path), filepath=str(SCHEMA))
    except ValueError as error:
        yield f"metadata.json: {str(error).splitlines()[0]}"
    metadata: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if metadata.get("version") not in metadata.get("changelog", {}):
        yield "metadata.json: its version is not in its changelog"


def dead_links(folder: Path) -> Iterator[tuple[str, str]]:
    for page in folder.rglob("*.md"):
        for target in re.findall(r"\]\((?!https?://|#|mailto:)([^)#\s]+)", page.read_text(encoding="utf-8")):
            if not (page.parent / target).exists():
                yield page.relative_to(folder).as_posix(), target


def write_zip(folder: Path, path: Path) -> None:
    """The same bytes for the same files, below the folder's name."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for file in files_below(folder):
            entry = zipfile.ZipInfo(f"{folder.name}/{file.relative_to(folder).as_posix()}")
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, file.read_bytes(), zipfile.ZIP_DEFLATED, 9)


def download(zipped: Path, name: str, bundle_dir: Path) -> None:
    """Get the zip as a user of the zoo does, from a server on this machine."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(zipped.parent)))
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_port}/{zipped.name}"
        _run("-m", "monai.bundle", "download", "--name", name, "--url", url, "--bundle_dir", bundle_dir, cwd=bundle_dir)
    finally:
        server.shutdown()
        server.server_close()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_words: Any) -> None:
        pass


def try_out(root: Path, work: Path) -> None:
    """Run a downloaded bundle, its package found by PYTHONPATH, from the folder around it."""
    _run("-W", "ignore", "-c", PROBE, root, work, cwd=root.parent, package=root)
    runs = (("generate", ("--count", 2)), ("inference", ("--dataset_dir", work / "generate")))
    for config, words in runs:
        given = ("--config_file", f"{root.name}/configs/{config}.json", *words, "--output_dir", work / config)
        _run("-m", "monai.bundle", "run", *given, "--device", "cpu", cwd=root.parent, package=root)
    lines = (work / "inference" / "manifest.jsonl").read_text().splitlines()
    done = [line for line in lines if json.loads(line)["status"] == "done"]
    if len(done) != 2:
        raise SystemExit(f"inference.json recalibrated {len(done)} of 2 images")


def _run(*words: object, cwd: Path, package: Path | None = None) -> None:
    environment = os.environ | ({"PYTHONPATH": str(package / "bundle")} if package else {})
    done = subprocess.run(
        [sys.executable, *map(str, words)],
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, words))[:200]}\n{done.stdout[-4000:]}")


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output_dir", type=Path, default=Path("dist"))
    parser.add_argument("--name", default="frerec", help="of the bundle, and of the folder in the zip")
    args = parser.parse_args(argv)
    installed = _tool(ROOT, "pip", "list", "--format", "freeze", "--disable-pip-version-check").lower()
    if lacking := [name for name in (*PLUGINS, "black", "isort", "flake8") if f"{name}==" not in installed]:
        raise SystemExit(f"not installed: {', '.join(lacking)}. Use pip install '.[zoo]'")
    version = json.loads((ROOT / "configs" / "metadata.json").read_text())["version"]
    zipped = args.output_dir.absolute() / f"{args.name}_v{version}.zip"
    with tempfile.TemporaryDirectory() as temporary:
        zoo, bundles, work = (Path(temporary, name) for name in ("zoo", "bundles", "work"))
        for made in (bundles, work, args.output_dir):
            made.mkdir(parents=True, exist_ok=True)
        folder = zoo / "models" / args.name
        copy_shipped(ROOT, folder)
        problems = [*rule_problems(folder), *style_problems(zoo)]
        if problems:
            raise SystemExit("\n".join([f"{len(problems)} problems", *problems]))
        print(f"rules and code style: {len(files_below(folder))} files pass", flush=True)
        write_zip(folder, zipped)
        print(f"wrote {zipped} ({zipped.stat().st_size / 2**20:.1f} MiB)", flush=True)
        download(zipped, args.name, bundles)
        if {p.relative_to(bundles / args.name) for p in files_below(bundles / args.name)} != {
            p.relative_to(folder) for p in files_below(folder)
        }:
            raise SystemExit("other files were downloaded than were packed")
        print("downloaded by monai.bundle", flush=True)
        try_out(bundles / args.name, work)
        print("shapes, TorchScript, properties, load, generate.json and inference.json of the download: passed")


if __name__ == "__main__":
    main()
