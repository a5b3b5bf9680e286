#!/bin/sh
# Quotes, escapes and comments in odd places.
iptables -A INPUT -m comment --comment 'it'\''s # no comment' -j ACCEPT # a comment
iptables -A INPUT -m comment \
  --comment "a \"b\" \\ c \$d" -j ACCEPT;iptables -A INPUT -m comment --comment a#b -j DROP
iptables -A INPUT -m comment --comment "two  blanks" -j ACCEPT
iptables -A INPUT -m comment --comment two\ words -j ACCEPT
A=' --dport 80 ' B="-p tcp"
iptables -A INPUT $B$A -j ACCEPT
iptables -A INPUT ${B} --dport 8""1 -j ACCEPT
EMPTY=""
iptables -A INPUT $EMPTY -p udp $EMPTY -j ACCEPT
iptables -A INPUT -m comment --comment "${EMPTY:-default text}" -j ACCEPT
iptables -A INPUT -m comment --comment "${B:+set}" -j ACCEPT
iptables -A INPUT -m comment --comment `echo back quoted` -j ACCEPT
iptables -A INPUT -m comment --comment "`echo back quoted`" -j ACCEPT
iptables -A INPUT -j LOG --log-prefix 'new: '
