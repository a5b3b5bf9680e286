#!/bin/sh
# Rules by number, in the middle, replaced, deleted; a chain renamed.
iptables -A INPUT -p tcp --dport 1 -j ACCEPT
iptables -A INPUT -p tcp --dport 2 -j ACCEPT
iptables -I INPUT -p tcp --dport 3 -j ACCEPT
iptables -I INPUT 2 -p tcp --dport 4 -j ACCEPT
iptables -R INPUT 3 -p tcp --dport 5 -j DROP
iptables -D INPUT 1
iptables -D INPUT -p tcp --dport 2 -j ACCEPT
iptables -I INPUT 99 -p tcp --dport 6 -j ACCEPT
iptables -D INPUT -p tcp --dport 77 -j ACCEPT
iptables -I INPUT -s 10.0.0.1,10.0.0.2 -d 10.1.0.1,10.1.0.2 -j ACCEPT
iptables -A INPUT -s 10.2.0.1,10.2.0.2 -j DROP
iptables -N one
iptables -A one -j RETURN
iptables -A INPUT -g one
iptables -E one two
iptables -X two
iptables -N three
iptables -X three
iptables -N two
iptables -A INPUT -o eth0 -j ACCEPT
iptables -A OUTPUT -i eth0 -j ACCEPT
iptables -A INPUT -j missing
iptables -A INPUT -p tcp --dport 7 -j DNAT --to-destination 10.0.0.1
iptables -t nat -A PREROUTING -j DROP
iptables -P FORWARD DROP
iptables -P two DROP
iptables -A FORWARD -j ACCEPT
