#!/bin/sh
# Copied from a web page: some of the dashes and quotes are those of a word processor.
iptables –t raw –A PREROUTING –p tcp –j NOTRACK
iptables -A INPUT -p tcp —dport 80 -j ACCEPT
iptables -A INPUT -p tcp --dport 443 -m comment --comment “web” -j ACCEPT
iptables -A INPUT -p tcp --dport 22 -m comment --comment “secure shell” -j ACCEPT
iptables -A INPUT -p udp --dport 53 -j ACCEPT
