#!/bin/sh
# What happens in a subshell or behind a pipe stays there, except for the rules.
P=80
( P=81; iptables -A INPUT -p tcp --dport $P -j ACCEPT; exit 0 )
iptables -A INPUT -p tcp --dport $P -j ACCEPT
echo | { P=82; iptables -A INPUT -p tcp --dport $P -j ACCEPT; }
iptables -A INPUT -p tcp --dport $P -j ACCEPT &
wait
{ P=83; }
iptables -A INPUT -p tcp --dport $P -j ACCEPT
X=$(echo 84; iptables -A INPUT -p tcp --dport 85 -j ACCEPT)
iptables -A INPUT -p tcp --dport $X -j ACCEPT
