"""FreRec: frequency recalibration of generated medical images, as MONAI components."""

from frerec.root import bundle_root

__all__ = ["__version__", "bundle_root"]

__version__ = "0.2.0"
