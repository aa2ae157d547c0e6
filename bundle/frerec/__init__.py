"""FreRec: frequency recalibration of generated medical images, as MONAI components."""

__version__ = "0.1.0"
