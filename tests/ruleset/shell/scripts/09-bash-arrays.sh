#!/bin/bash
# Arrays, brace lists, locals, default values.
set -euo pipefail
IFS=$'\n\t'
readonly IPT="/usr/sbin/iptables"
declare -a ALLOWED=(
    "192.0.2.0/24"
    "198.51.100.0/24"   # the other office
)
ALLOWED+=("203.0.113.7")
allow_port() {
    local proto="$1" port="$2"
    shift 2
    local comment="${*:-none}"
    for net in "${ALLOWED[@]}"; do
        "$IPT" -A INPUT -s "$net" -p "$proto" --dport "$port" -m comment --comment "$comment" -j ACCEPT
    done
}
allow_port tcp 22 "ssh from offices"
allow_port udp 51820
for port in {8000..8002} {9000,9443}; do
    "$IPT" -A INPUT -p tcp --dport "$port" -j REJECT --reject-with tcp-reset
done
"$IPT" -A INPUT -p tcp --dport "${LATE:-7000}" -j DROP
