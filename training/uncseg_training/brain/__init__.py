"""The network that finds the brain: heads with a skull, images of them in any contrast, and its training."""
