#!/bin/sh
# Writes a rules file, line by line, then loads it.
F=./written.rules
cat > $F <<EOT
*filter
:INPUT DROP [0:0]
EOT
for p in 25 587 993; do
	echo "-A INPUT -p tcp --dport $p -j ACCEPT" >> $F
done
printf '%s\n' "-A INPUT -i lo -j ACCEPT" "COMMIT" >> $F
iptables-restore < $F
{
	echo '*mangle'
	echo '-A PREROUTING -j MARK --set-mark 1'
	echo COMMIT
} | iptables-restore --noflush
rm -f $F
