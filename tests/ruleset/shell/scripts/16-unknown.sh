#!/bin/sh
# test: read
# Much that only a running system knows.
WAN_IP=$(ip -4 addr show eth0 | awk '/inet / {print $2}')
iptables -A INPUT -d $WAN_IP -p tcp --dport 80 -j ACCEPT
if ping -c1 192.0.2.1 >/dev/null; then
    iptables -A INPUT -s 192.0.2.1 -j ACCEPT
else
    iptables -A INPUT -s 192.0.2.1 -j DROP
fi
while read net; do
    iptables -A INPUT -s "$net" -j DROP
done < /etc/blocked
for f in /etc/firewall.d/*.sh; do . "$f"; done
iptables -A INPUT -m limit $LIMITS -j LOG
iptables -A INPUT -j ACCEPT
ssh gateway iptables -F
