#!/bin/sh
# The second -N fails, and with `set -e` that is the end.
set -e
iptables -N a
iptables -A INPUT -j a
iptables -N a
iptables -A a -j DROP
