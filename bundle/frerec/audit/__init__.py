"""Evaluation: what differs between real and synthetic images, what recalibration changes, and what it costs."""
