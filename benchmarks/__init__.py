"""One command for each claim; `train` builds the shipped weights."""
