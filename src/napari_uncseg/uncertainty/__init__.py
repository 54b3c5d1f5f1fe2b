"""Uncertainty and failure of a voxel; formulas for numpy and torch arrays alike, no torch needed."""
