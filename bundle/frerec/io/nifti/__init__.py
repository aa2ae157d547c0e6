"""NIfTI, by nibabel."""
