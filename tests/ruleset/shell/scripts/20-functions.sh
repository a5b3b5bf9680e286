#!/bin/sh
# Functions that call functions, return early, and count their arguments.
rule() { iptables -A "$chain" "$@"; }
open() {
    [ $# -ge 2 ] || return 1
    proto=$1; shift
    for port; do
        rule -p $proto --dport $port -j ACCEPT
    done
    return 0
    rule -j DROP
}
chain=INPUT
open tcp 22 80
open udp || rule -p udp --dport 53 -j ACCEPT
chain=OUTPUT open tcp 25
chain=FORWARD
open tcp 8080
set -- 10.0.0.0/8 172.16.0.0/12
for net; do rule -s $net -j DROP; done
rule -s "$2" -d "$1" -j REJECT
