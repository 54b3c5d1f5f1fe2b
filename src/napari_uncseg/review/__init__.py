"""A study under review: places to check, verdicts, corrections and the report of a study; no torch, no Qt."""
