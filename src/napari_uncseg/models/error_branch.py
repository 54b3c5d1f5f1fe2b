"""A small network beside the output layer that says where the regions are wrong."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn


class ErrorBranch(nn.Module):
    """Logits of the error of each region, from the features that the segmentation is made of.

    Parameters
    ----------
    features : int
        Channels of the decoder's finest stage.
    errors : int
        Channels of the answer.

    Notes
    -----
    Its gradient ends at the features: the segmentation learns nothing from the branch, which looks at it from outside,
    as an auxiliary network does.

    References
    ----------
    Jungo, Balsiger and Reyes, "Analyzing the quality and challenges of uncertainty estimations for brain tumor
    segmentation", Frontiers in Neuroscience 14 (2020): auxiliary networks that learn segmentation errors.
    """

    def __init__(self, features: int, errors: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv3d(features, features, 1),
            nn.LeakyReLU(inplace=True),
            nn.Conv3d(features, features, 1),
            nn.LeakyReLU(inplace=True),
        )
        self.output = nn.Conv3d(features, errors, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map features ``(batch, features, x, y, z)`` to logits ``(batch, errors, x, y, z)``."""
        return cast(Tensor, self.output(self.layers(x.detach())))
