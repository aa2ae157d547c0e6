"""Lets a wheel carry what ships beside the package; everything else is in pyproject.toml."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

#: What `frerec.bundle_root()` offers where there is no checkout.
SHIPPED = ("configs", "models", "docs/reference/config_ids.md")


class BuildWithData(build_py):
    """Copies what ships into the built package as ``frerec/data``; an installation in place has the checkout."""

    def run(self) -> None:
        """Build the package, then copy."""
        super().run()
        if self.editable_mode:
            return
        data = Path(self.build_lib, "frerec", "data")
        shutil.rmtree(data, ignore_errors=True)
        for name in SHIPPED:
            (data / name).parent.mkdir(parents=True, exist_ok=True)
            if Path(name).is_dir():
                shutil.copytree(name, data / name)
            else:
                shutil.copyfile(name, data / name)


setup(cmdclass={"build_py": BuildWithData})
