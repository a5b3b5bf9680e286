#!/bin/sh
# A bad table behind a good one: the first is in force, the second is not.
iptables-restore <<E
*raw
-A PREROUTING -p udp --dport 53 -j NOTRACK
COMMIT
*filter
:INPUT DROP [0:0]
-A INPUT -p tcp --dport 99999 -j ACCEPT
COMMIT
E
iptables-restore -T mangle <<E
*mangle
-A PREROUTING -j ACCEPT
COMMIT
*nat
-A PREROUTING -j ACCEPT
COMMIT
E
ip6tables-restore <<E
*filter
:INPUT DROP [0:0]
:x - [0:0]
-A INPUT -j x
-I x -p tcp --dport 22 -j ACCEPT
COMMIT
E
ip6tables-restore --noflush <<E
*filter
:x - [0:0]
-A x -p tcp --dport 2222 -j ACCEPT
COMMIT
E
