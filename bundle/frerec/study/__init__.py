"""The downstream study: does augmentation with synthetic images help a classifier, and does recalibration?"""
