#!/bin/sh
set -e
iptables -A INPUT -i lo -j ACCEPT
iptables -A INPUT -p icmp -j ACCEPT
iptables -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
for port in 22 80 443; do
    iptables -A INPUT -p tcp --dport $port -j ACCEPT
done
iptables -A INPUT -p udp --dport 53 -j ACCEPT
iptables -P INPUT DROP
iptables -P FORWARD DROP
iptables -t raw -A PREROUTING -p udp --dport 53 -j CT --notrack
iptables -t raw -A OUTPUT -p udp --sport 53 -j CT --notrack
