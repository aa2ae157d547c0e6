"""PNG, TIFF, JPEG and BMP."""
