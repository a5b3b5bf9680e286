"""Which flows are tracked, and why; the plan as legs. Knows nothing about chains, sets or rule text."""
