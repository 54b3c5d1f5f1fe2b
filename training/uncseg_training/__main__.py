"""``python -m uncseg_training``, which is what ``torchrun`` starts."""

from uncseg_training.cli import main

main()
