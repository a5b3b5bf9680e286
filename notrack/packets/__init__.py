"""Header fields and exact sets of packets. Knows nothing about rules."""
