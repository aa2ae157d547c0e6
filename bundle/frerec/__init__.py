"""FreRec: frequency recalibration of generated medical images, as MONAI components."""

__version__ = "0.2.0"
