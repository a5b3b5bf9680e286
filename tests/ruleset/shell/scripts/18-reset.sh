#!/bin/sh
# Empties all tables, twice the usual way, then builds.
iptables -A INPUT -j DROP
iptables -N old
iptables -A old -j DROP
for table in filter nat mangle raw; do
  iptables -t $table -F
  iptables -t $table -X
  iptables -t $table -Z
done
for chain in INPUT FORWARD OUTPUT; do iptables -P $chain ACCEPT; done
iptables -t mangle -A PREROUTING -p tcp --tcp-flags SYN,RST SYN -j MARK --set-xmark 0x1/0xff
iptables -nvL >/dev/null
iptables -t nat -nL POSTROUTING | grep -q MASQ
iptables --table nat --append POSTROUTING --out-interface eth0 --jump MASQUERADE
iptables -t raw -A PREROUTING ! -i lo -p udp ! --sport 53 -j CT --notrack
