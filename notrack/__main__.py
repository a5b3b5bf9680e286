"""`python -m notrack`."""

import sys

from notrack.cli.main import main

sys.exit(main())
