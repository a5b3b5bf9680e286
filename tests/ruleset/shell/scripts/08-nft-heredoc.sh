#!/bin/bash
# nft -f - from a here-document with variables of the shell.
WAN=eth0
PORTS="80, 443"
nft -f - <<EOF2
flush ruleset
table ip raw {
	chain prerouting {
		type filter hook prerouting priority raw; policy accept;
		iifname "$WAN" tcp dport { $PORTS } notrack
	}
	chain output {
		type filter hook output priority raw; policy accept;
		oifname "$WAN" tcp sport { $PORTS } notrack
	}
}
EOF2
cat <<'EOF2' | nft -f /dev/stdin
table ip filter {
	chain input {
		type filter hook input priority 0; policy drop;
		tcp dport { 80, 443 } accept
	}
}
EOF2
