"""What was found, for people and for programs: text, JSON. Never knows what was checked."""
