#!/bin/sh
# Loops in loops over lists of ports and sources.
TCP_PORTS="22 80 443"
UDP_PORTS="53 123"
ADMINS="10.0.0.1 10.0.0.2"

iptables -N services
iptables -A INPUT -j services
for port in $TCP_PORTS; do
	iptables -A services -p tcp --dport $port -j ACCEPT
done
for port in $UDP_PORTS
do
	iptables -A services -p udp --dport "$port" -j ACCEPT
done
for source in $ADMINS 192.0.2.7; do
	for port in 3306 5432; do
		[ "$source" = 10.0.0.2 ] && [ $port -eq 5432 ] && continue
		iptables -A services -s ${source} -p tcp --dport ${port} -j ACCEPT
	done
done
iptables -A services -j RETURN
