"""See where not to trust a brain-tumour segmentation: segmentation and its uncertainty in napari.

For research use only. Importing this package loads neither torch nor matplotlib nor napari.
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("napari-uncseg")
except PackageNotFoundError:  # a source tree on the path that was never installed
    __version__ = "0+unknown"

__all__ = ["__version__"]
