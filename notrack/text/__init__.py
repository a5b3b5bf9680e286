"""Source files, places in them, and diagnostics. Knows nothing about firewalls."""
