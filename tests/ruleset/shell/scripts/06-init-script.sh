#!/bin/sh
# test: arguments start
### BEGIN INIT INFO
# Provides: firewall
### END INIT INFO
IPT=$(which iptables)
[ -x "$IPT" ] || exit 0

start() {
    $IPT -P INPUT DROP
    $IPT -A INPUT -i lo -j ACCEPT
    $IPT -A INPUT -p tcp --dport ssh -j ACCEPT
    $IPT -t raw -A PREROUTING -p udp --dport domain -j NOTRACK
    $IPT -t raw -A OUTPUT -p udp --sport domain -j NOTRACK
}

stop() {
    $IPT -P INPUT ACCEPT
    $IPT -F
    $IPT -t raw -F
}

case "$1" in
    start)
        echo "Starting firewall"
        start
        ;;
    stop)
        stop
        ;;
    restart|reload)
        stop
        start
        ;;
    *)
        echo "Usage: $0 {start|stop|restart}" >&2
        exit 1
esac
exit 0
