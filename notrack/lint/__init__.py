"""What is wrong in rules that people have: one rule of the linter, one file in `rules/`."""
