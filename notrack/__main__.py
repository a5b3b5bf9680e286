"""`python -m notrack`."""

from notrack.cli.main import program

program()
