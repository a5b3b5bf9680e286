#!/bin/sh
# nft, one command a line, quoted for the shell in three ways.
nft flush ruleset
nft add table inet filter
nft add chain inet filter input '{ type filter hook input priority 0; policy drop; }'
nft add chain inet filter output { type filter hook output priority 0 \; policy accept \; }
nft "add rule inet filter input iif lo accept"
nft add rule inet filter input ct state established,related accept
for p in 22 80 443; do
    nft add rule inet filter input tcp dport $p accept
done
nft add set inet filter bad '{ type ipv4_addr; }'
nft add element inet filter bad { 192.0.2.1, 192.0.2.2 }
nft insert rule inet filter input ip saddr @bad drop
