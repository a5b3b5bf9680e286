#!/bin/sh
# Wrappers around the command.
SUDO=
command iptables -A INPUT -i lo -j ACCEPT
env LC_ALL=C iptables -A INPUT -p tcp --dport 80 -j ACCEPT
LC_ALL=C iptables -A INPUT -p tcp --dport 81 -j ACCEPT
nice -n 5 iptables -A INPUT -p tcp --dport 82 -j ACCEPT
$SUDO iptables -A INPUT -p tcp --dport 83 -j ACCEPT
"iptables" '-A' INPUT -p 'tcp' --dport "8"4 -j A\CCEPT
run="iptables -A INPUT -p tcp"
$run --dport 85 -j ACCEPT
timeout 5 iptables -A INPUT -p tcp --dport 86 -j ACCEPT
exec iptables -A INPUT -p tcp --dport 87 -j ACCEPT
iptables -A INPUT -p tcp --dport 88 -j ACCEPT
