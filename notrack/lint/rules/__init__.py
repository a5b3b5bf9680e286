"""The rules of the linter. A module here that defines `RULE` is one: nothing else has to be told of it."""
