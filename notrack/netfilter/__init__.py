"""The kernel, modelled: hooks, tracking, translation, verdicts. Never knows where rules came from."""
