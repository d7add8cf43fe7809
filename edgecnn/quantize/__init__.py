"""Quantisation: calibration, recipes, and whether the result holds elsewhere."""
