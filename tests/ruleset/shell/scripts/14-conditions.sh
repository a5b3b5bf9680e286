#!/bin/bash
# Conditions that the text decides.
ENABLE_WEB=yes
ENABLE_MAIL=no
LOG=
IPV6=1
[ "$ENABLE_WEB" = "yes" ] && iptables -A INPUT -p tcp --dport 80 -j ACCEPT
if [ "$ENABLE_MAIL" == "yes" ]; then
    iptables -A INPUT -p tcp --dport 25 -j ACCEPT
elif [[ $ENABLE_MAIL == no ]]; then
    iptables -A INPUT -p tcp --dport 25 -j DROP
else
    iptables -A INPUT -p tcp --dport 25 -j REJECT
fi
if [ -n "$LOG" -o -z "$ENABLE_WEB" ]; then
    iptables -A INPUT -j LOG
fi
test "$IPV6" -gt 0 && ip6tables -A INPUT -i lo -j ACCEPT
[ "x$LOG" != x ] || iptables -A INPUT -j DROP
case $ENABLE_WEB in
    [Yy]es|true) ip6tables -A INPUT -p tcp --dport 80 -j ACCEPT ;;
    *) ip6tables -A INPUT -p tcp --dport 80 -j DROP ;;
esac
