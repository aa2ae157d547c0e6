"""A recommendation for one's own data: add the generated images or not, and how recalibrated."""
