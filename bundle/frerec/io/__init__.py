"""What an image is here: readers and writers for clinical formats, intensity ranges, provenance."""
