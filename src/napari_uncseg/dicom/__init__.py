"""DICOM in and out: the series of a folder and their roles, their voxels, and results as DICOM objects."""
