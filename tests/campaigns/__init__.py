"""Campaigns against a rough world: damaged files, kills, full disks, little memory; scripts that print what they tried.

``python -m tests.campaigns.mutated_files --count 10000 --seed 1`` and so on, see ``docs/reliability.md``.
"""
