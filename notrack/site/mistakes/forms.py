"""How each declaration is written: the line that an error shows to somebody who did not know."""

from __future__ import annotations

FORMS: dict[str, str] = {
    "site": "site NAME",
    "include": 'include "other.spec"',
    "interface": "interface NAME = eth0 address 192.0.2.80/24",
    "network": "network NAME = 192.0.2.0/24, 2001:db8::/32",
    "ports": "ports NAME = 80, 443, 8000-8010",
    "service": "service NAME tcp 80, 443; udp 443 from NETWORK on INTERFACE",
    "client": "client NAME udp 53 to NETWORK",
    "peer": "peer NAME udp 4789 with 192.0.2.2, 192.0.2.3",
    "route": "route NAME from NETWORK to any on INTERFACE out INTERFACE",
    "masquerade": "masquerade NAME from NETWORK out INTERFACE",
    "snat": "snat NAME from NETWORK out INTERFACE as 192.0.2.1",
    "publish": "publish NAME tcp 8443 on INTERFACE to 192.0.2.5 port 443",
    "redirect": "redirect NAME tcp 80 on INTERFACE to port 8080",
    "trust": "trust NAME from 192.0.2.10 on INTERFACE",
    "block": "block NAME from NETWORK on INTERFACE",
    "icmp": "icmp NAME echo-request from any limit 20/second",
    "ephemeral": "ephemeral 32768-60999",
    "default": "default input|forward|output drop|reject|accept|leave",
    "log": "log dropped 10/minute",
    "tracking": "tracking room 200000 flows",
    "expect": "expect untracked accept tcp from 192.0.2.9 to host port 80 on INTERFACE",
}

# What other firewalls call it, or what a tired person writes.
MEANT: dict[str, str] = {
    **dict.fromkeys(("iface", "dev", "device", "zone"), "interface"),
    **dict.fromkeys(("net", "networks", "subnet", "alias", "group", "set", "define", "var"), "network"),
    "port": "ports",
    **dict.fromkeys(("allow", "accept", "open", "permit", "server", "listen", "rule", "input"), "service"),
    **dict.fromkeys(("deny", "drop", "reject", "ban", "blacklist"), "block"),
    **dict.fromkeys(("nat", "masq"), "masquerade"),
    **dict.fromkeys(("dnat", "dest-nat"), "publish"),
    "redir": "redirect",
    "forward": "route",
    "policy": "default",
    "conntrack": "tracking",
    "timeout": "tracking timeout",
    "room": "tracking room",
    **dict.fromkeys(("source", "import"), "include"),
    **dict.fromkeys(("hostname", "name"), "site"),
    "ping": "icmp",
    **dict.fromkeys(("output", "outgoing"), "client"),
    "logging": "log",
    **dict.fromkeys(("test", "assert"), "expect"),
    "whitelist": "trust",
    **dict.fromkeys(("vpn", "cluster"), "peer"),
}
