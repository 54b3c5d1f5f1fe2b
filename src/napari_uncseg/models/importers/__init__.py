"""Networks trained elsewhere, as models."""

CHECKPOINT = "checkpoint_final.pth"
"""File that nnU-Net leaves in the folder of a fold."""
