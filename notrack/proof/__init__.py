"""What a compile promises, and whether the emitted text keeps it."""
