"""Where the bundle's configs and models are."""

from __future__ import annotations

from pathlib import Path

#: What a folder holds that is the root of the bundle.
_CONFIG = Path("configs", "inference.json")


def bundle_root() -> str:
    """The root of the bundle that this package belongs to.

    Package, configs and models of a bundle go together, so the answer follows from where the package was imported
    from, not from the current directory or the command line.

    Returns:
        Absolute path of the checkout (or unpacked bundle) whose ``bundle/`` folder holds this package, where it was
        installed with ``pip install -e`` or found by ``PYTHONPATH``; else of the folder in the installed package that
        carries ``configs/``, ``models/`` and the table of config ids.
    """
    package = Path(__file__).resolve().parent
    checkout = package.parents[1]
    return str(checkout if (checkout / _CONFIG).is_file() else package / "data")
