#!/bin/sh
iptables –t raw -A PREROUTING -p tcp -j NOTRACK
iptables –t raw -A OUTPUT -p tcp -j NOTRACK
iptables –A INPUT -p tcp 192.0.2.10 --sport 80 -j ACCEPT
iptables –A OUTPUT -p tcp -j ACCEPT
