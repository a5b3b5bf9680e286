"""What words stand for: services, protocols, helpers, ICMP requests, timeouts. It ships, so every host reads the same."""
