"""Well-known service names and their ports, for all of tcp, udp and sctp alike."""

from __future__ import annotations

_TABLE = """
echo 7, discard 9, systat 11, daytime 13, netstat 15, qotd 17, chargen 19, ftp-data 20, ftp 21, ssh 22,
telnet 23, smtp 25, time 37, whois 43, tacacs 49, domain 53, dns 53, bootps 67, bootpc 68, dhcp-server 67,
dhcp-client 68, tftp 69, gopher 70, finger 79, http 80, kerberos 88, iso-tsap 102, rtelnet 107, pop3 110,
sunrpc 111, portmapper 111, auth 113, ident 113, nntp 119, ntp 123, epmap 135, netbios-ns 137, netbios-dgm
138, netbios-ssn 139, imap 143, imap2 143, snmp 161, snmp-trap 162, cmip-man 163, xdmcp 177, bgp 179, smux
199, qmtp 209, z3950 210, ldap 389, svrloc 427, https 443, microsoft-ds 445, smb 445, kpasswd 464,
submissions 465, smtps 465, isakmp 500, ike 500, exec 512, login 513, who 513, shell 514, syslog 514,
printer 515, lpd 515, talk 517, ntalk 518, rip 520, router 520, ripng 521, dhcpv6-client 546, dhcpv6-server
547, rtsp 554, nntps 563, nqs 607, submission 587, ipp 631, ldaps 636, tinc 655, silc 706, kerberos-adm 749,
webster 765, domain-s 853, dns-over-tls 853, dot 853, rsync 873, ftps-data 989, ftps 990, telnets 992, imaps
993, ircs 994, pop3s 995, socks 1080, proofd 1093, rmiregistry 1099, openvpn 1194, ms-sql-s 1433, ms-sql-m
1434, ingreslock 1524, datametrics 1645, sa-msg-port 1646, l2tp 1701, h323-gatestat 1719, h323-hostcall
1720, pptp 1723, radius 1812, radius-acct 1813, ssdp 1900, msnp 1863, mqtt 1883, cisco-sccp 2000, nfs 2049,
gnunet 2086, zookeeper 2181, etcd-client 2379, etcd-server 2380, docker 2375, docker-s 2376, rtcm-sc104
2101, iprop 2121, cvspserver 2401, venus 2430, mon 2583, gsiftp 2811, icpv2 3130, squid 3128, icp 3130,
mysql 3306, rdp 3389, ms-wbt-server 3389, stun 3478, turn 3478, svn 3690, epmd 4369, ipsec-nat-t 4500, nat-t
4500, vxlan 4789, upnp 5000, iax 4569, radmin-port 4899, sip 5060, sip-tls 5061, sips 5061, xmpp-client
5222, xmpp-server 5269, mdns 5353, llmnr 5355, postgresql 5432, postgres 5432, nat-pmp 5351, rplay 5555,
amqps 5671, amqp 5672, vnc 5900, couchdb 5984, x11 6000, redis 6379, geneve 6081, sane-port 6566, sane 6566,
ircd 6667, ircs-u 6697, bfd-control 3784, bfd-echo 3785, afs3-fileserver 7000, http-alt 8080, https-alt
8443, puppet 8140, cassandra 9042, jetdirect 9100, node-exporter 9100, prometheus 9090, git 9418, kafka
9092, elasticsearch 9200, bacula-dir 9101, bacula-fd 9102, bacula-sd 9103, amanda 10080, kubelet 10250,
zabbix-agent 10050, zabbix-trapper 10051, nbd 10809, memcached 11211, memcache 11211, mongodb 27017,
kube-apiserver 6443, wireguard 51820, traceroute 33434, otlp 4317, consul 8500
"""

SERVICE_PORTS: dict[str, int] = {
    name: int(number) for name, number in (entry.split() for entry in _TABLE.replace("\n", " ").split(","))
}
