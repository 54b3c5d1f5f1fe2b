"""Where ``nnUNetv2_train -tr nnUNetTrainerUncertainty`` finds the class; see the README beside this file."""

from uncseg_training.nnunet.trainer import nnUNetTrainerUncertainty

__all__ = ["nnUNetTrainerUncertainty"]
