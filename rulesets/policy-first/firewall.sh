#!/bin/sh
IPT=/sbin/iptables
$IPT -F
$IPT -P INPUT DROP
$IPT -P OUTPUT ACCEPT
$IPT -A INPUT -i lo -j ACCEPT
$IPT -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
for port in 22 80 443; do
    $IPT -A INPUT -p tcp --dport $port -j ACCEPT
done
$IPT -A INPUT -p icmp -j ACCEPT
