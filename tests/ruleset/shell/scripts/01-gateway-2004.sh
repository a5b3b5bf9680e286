#!/bin/sh
# A home gateway in the style of 2004: full paths, a variable for the tool, modules by hand.
IPTABLES=/sbin/iptables
EXTIF="ppp0"
INTIF="eth0"
LAN=192.168.1.0/24

/sbin/modprobe ip_conntrack
/sbin/modprobe ip_conntrack_ftp
echo "1" > /proc/sys/net/ipv4/ip_forward

$IPTABLES -F
$IPTABLES -t nat -F
$IPTABLES -X
$IPTABLES -P INPUT DROP
$IPTABLES -P FORWARD DROP
$IPTABLES -P OUTPUT ACCEPT

$IPTABLES -A INPUT -i lo -j ACCEPT
$IPTABLES -A INPUT -i $INTIF -s $LAN -j ACCEPT
$IPTABLES -A INPUT -m state --state ESTABLISHED,RELATED -j ACCEPT
$IPTABLES -A INPUT -i $EXTIF -p tcp --dport 22 --syn -j ACCEPT
$IPTABLES -A INPUT -i $EXTIF -p icmp --icmp-type 8 -j ACCEPT

$IPTABLES -A FORWARD -i $INTIF -o $EXTIF -j ACCEPT
$IPTABLES -A FORWARD -i $EXTIF -o $INTIF -m state \
    --state ESTABLISHED,RELATED -j ACCEPT
$IPTABLES -t nat -A POSTROUTING -o $EXTIF -s $LAN -j MASQUERADE
$IPTABLES -t nat -A PREROUTING -i $EXTIF -p tcp --dport 8080 \
    -j DNAT --to-destination 192.168.1.10:80
