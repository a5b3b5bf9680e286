#!/bin/sh -e
# One function for both families, arguments passed on.
ip46tables() {
    iptables -w "$@"
    ip6tables -w "$@"
}
ip46tables -P INPUT DROP
ip46tables -A INPUT -i lo -j ACCEPT
ip46tables -A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
ip46tables -A INPUT -p tcp -m multiport --dports 80,443 -m comment --comment "web, \"both\" families" -j ACCEPT
iptables -A INPUT -p icmp -j ACCEPT
ip6tables -A INPUT -p ipv6-icmp -j ACCEPT
