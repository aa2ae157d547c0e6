"""DICOM, by pydicom: reading, series, pixels and what they mean, writing of derived images."""
