"""What words stand for: services, protocols, helpers, ICMP requests, timeouts.

The tables ship with the package, so that every host reads the same.
"""
