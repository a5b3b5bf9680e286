#!/bin/sh
# Idempotent: each rule is there once, however often this is called.
add() {
    iptables -C "$@" 2>/dev/null || iptables -A "$@"
}
iptables -N GUARD 2>/dev/null || iptables -F GUARD
iptables -N GUARD 2>/dev/null || iptables -F GUARD
add INPUT -j GUARD
add INPUT -j GUARD
add GUARD -p tcp --dport 22 -j ACCEPT
add GUARD -p tcp --dport 22 -j ACCEPT
add GUARD -p tcp -m tcp --dport ssh -j ACCEPT
if ! iptables -C INPUT -p udp --dport 53 -j ACCEPT; then
    iptables -I INPUT -p udp --dport 53 -j ACCEPT
fi
iptables -C OUTPUT -d 198.51.100.1/32 -j DROP >/dev/null 2>&1
if [ $? -ne 0 ]; then
    iptables -A OUTPUT -d 198.51.100.1 -j DROP
fi
iptables -D INPUT -p tcp --dport 9999 -j DROP || true
while iptables -D INPUT -j GUARD 2>/dev/null; do :; done
iptables -A INPUT -j GUARD
