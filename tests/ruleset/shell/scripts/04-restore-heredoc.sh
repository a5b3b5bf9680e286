#!/bin/bash
# Two here-documents: one quoted, one in which variables are put in.
set -e
WEB=192.0.2.80
iptables-restore <<'RULES'
*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:web - [0:0]
-A INPUT -i lo -j ACCEPT
-A INPUT -p tcp --dport 80 -j web
-A web -m limit --limit 100/second -j ACCEPT
COMMIT
RULES
iptables-restore -n <<-RULES
	*raw
	-A PREROUTING -d $WEB -p tcp --dport 80 -j CT --notrack
	-A OUTPUT -s $WEB -p tcp --sport 80 -j CT --notrack
	COMMIT
	*filter
	-A web -d $WEB -j ACCEPT
	COMMIT
RULES
