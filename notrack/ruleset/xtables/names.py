"""The names that stand for numbers in rules: protocols, services, ICMP types, code points."""

from __future__ import annotations

from collections.abc import Mapping

from notrack.packets.address import Family


def _pairs(text: str) -> dict[str, int]:
    words = text.split()
    return {name: int(number) for name, number in zip(words[::2], words[1::2], strict=True)}


PROTOCOLS: Mapping[str, int] = _pairs(
    """
    all 0 ip 0 hopopt 0 icmp 1 igmp 2 ggp 3 ipencap 4 ipv4 4 st 5 tcp 6 egp 8 igp 9 pup 12 udp 17 hmp 20
    xns-idp 22 rdp 27 iso-tp4 29 dccp 33 xtp 36 ddp 37 idpr-cmtp 38 ipv6 41 ipv6-route 43 ipv6-frag 44
    idrp 45 rsvp 46 gre 47 esp 50 ah 51 skip 57 ipv6-icmp 58 icmpv6 58 ipv6-nonxt 59 ipv6-opts 60 rspf 73
    vmtp 81 eigrp 88 ospf 89 ax.25 93 ipip 94 etherip 97 encap 98 pim 103 ipcomp 108 vrrp 112 l2tp 115
    isis 124 sctp 132 fc 133 mobility-header 135 ipv6-mh 135 mh 135 udplite 136 mpls-in-ip 137 manet 138
    hip 139 shim6 140 wesp 141 rohc 142
    """
)

SERVICES: Mapping[str, int] = _pairs(
    """
    tcpmux 1 echo 7 discard 9 systat 11 daytime 13 netstat 15 qotd 17 chargen 19 ftp-data 20 ftp 21 ssh 22
    telnet 23 smtp 25 mail 25 time 37 whois 43 nicname 43 tacacs 49 domain 53 bootps 67 bootpc 68 tftp 69
    gopher 70 finger 79 http 80 www 80 www-http 80 kerberos 88 kerberos5 88 krb5 88 iso-tsap 102
    pop3 110 pop-3 110 sunrpc 111 portmapper 111 rpcbind 111 auth 113 ident 113 nntp 119
    ntp 123 epmap 135 loc-srv 135 netbios-ns 137 netbios-dgm 138 netbios-ssn 139 imap2 143 imap 143
    snmp 161 snmp-trap 162 snmptrap 162 cmip-man 163 cmip-agent 164 mailq 174 xdmcp 177 bgp 179 smux 199
    z3950 210 wais 210 ipx 213 ptp-event 319 ptp-general 320 pawserv 345 rpc2portmap 369 codaauth2 370
    clearcase 371 ldap 389 svrloc 427 https 443 snpp 444 microsoft-ds 445 kpasswd 464 submissions 465
    smtps 465 ssmtp 465 urd 465 saft 487 isakmp 500 rtsp 554 nqs 607 asf-rmcp 623 qmqp 628 ipp 631 ldp 646
    exec 512 biff 512 login 513 who 513 shell 514 syslog 514 printer 515 talk 517 ntalk 518 route 520
    router 520 gdomap 538 uucp 540 klogin 543 kshell 544 dhcpv6-client 546 dhcpv6-server 547 afpovertcp 548
    nntps 563 submission 587 ldaps 636 tinc 655 silc 706 kerberos-adm 749 domain-s 853 rsync 873 ftps-data
    989 ftps 990 telnets 992 imaps 993 ircs 994 pop3s 995 socks 1080 proofd 1093 rootd 1094 openvpn 1194
    rmiregistry 1099 lotusnote 1352 ms-sql-s 1433 ms-sql-m 1434 ingreslock 1524 datametrics 1645
    sa-msg-port 1646 kermit 1649 groupwise 1677 l2f 1701 l2tp 1701 radius 1812 radius-acct 1813 msnp 1863
    cisco-sccp 2000 nfs 2049 gnunet 2086 rtcm-sc104 2101 zephyr-srv 2102 gsigatekeeper 2119 gris 2135
    cvspserver 2401 venus 2430 mon 2583 zebrasrv 2600 zebra 2601 ripd 2602 ospfd 2604 bgpd 2605 iscsi-target
    3260 mysql 3306 ms-wbt-server 3389 nut 3493 epmd 4369 radmin-port 4899 ipsec-nat-t 4500 rfe 5002
    iax 4569 mtn 4691 munin 4949 sip 5060 sip-tls 5061 xmpp-client 5222 xmpp-server 5269 cfengine 5308 mdns
    5353 postgresql 5432 postgres 5432 freeciv 5556 amqps 5671 amqp 5672 x11 6000 x11-0 6000 sane-port 6566
    ircd 6667 ircs-u 6697 bbs 7000 http-alt 8080 webcache 8080 puppet 8140 bacula-dir 9101 bacula-fd 9102
    bacula-sd 9103 git 9418 webmin 10000 zabbix-agent 10050 zabbix-trapper 10051 amanda 10080 nbd 10809
    hkp 11371 db-lsp 17500 dircproxy 57000 vxlan 4789 redis 6379 acr-nema 104 dicom 104 irc 194 comsat 512
    routed 520 rip 520 spamd 783 rmtcfg 1236 old-radius 1645 old-radacct 1646 radacct 1813 mqtt 1883
    ripngd 2603 ospf6d 2606 isisd 2608 dict 2628 gpsd 2947 gds-db 3050 icpv2 3130 icp 3130 isns 3205
    distcc 3632 daap 3689 svn 3690 subversion 3690 sieve 4190 remctl 4373 ntske 4460 hylafax 4559
    jabber-client 5222 jabber-server 5269 nrpe 5666 nsca 5667 x11-1 6001 x11-2 6002 x11-3 6003 gnutella-svc
    6346 gnutella-rtr 6347 syslog-tls 6514 sane 6566 babel 6696 afs3-fileserver 7000 afs3-callback 7001
    afs3-prserver 7002 afs3-vlserver 7003 font-service 7100 xfs 7100 tproxy 8081 binkp 24554
    """
)

_ICMP = """
    echo-reply 0 pong 0 destination-unreachable 3 network-unreachable 3/0 host-unreachable 3/1
    protocol-unreachable 3/2 port-unreachable 3/3 fragmentation-needed 3/4 source-route-failed 3/5
    network-unknown 3/6 host-unknown 3/7 network-prohibited 3/9 host-prohibited 3/10
    TOS-network-unreachable 3/11 TOS-host-unreachable 3/12 communication-prohibited 3/13
    host-precedence-violation 3/14 precedence-cutoff 3/15 source-quench 4 redirect 5 network-redirect 5/0
    host-redirect 5/1 TOS-network-redirect 5/2 TOS-host-redirect 5/3 echo-request 8 ping 8
    router-advertisement 9 router-solicitation 10 time-exceeded 11 ttl-exceeded 11
    ttl-zero-during-transit 11/0 ttl-zero-during-reassembly 11/1 parameter-problem 12 ip-header-bad 12/0
    required-option-missing 12/1 timestamp-request 13 timestamp-reply 14 address-mask-request 17
    address-mask-reply 18
"""
_ICMPV6 = """
    destination-unreachable 1 no-route 1/0 communication-prohibited 1/1 beyond-scope 1/2
    address-unreachable 1/3 port-unreachable 1/4 failed-policy 1/5 reject-route 1/6 packet-too-big 2
    time-exceeded 3 ttl-exceeded 3 ttl-zero-during-transit 3/0 ttl-zero-during-reassembly 3/1
    parameter-problem 4 bad-header 4/0 unknown-header-type 4/1 unknown-option 4/2 echo-request 128 ping 128
    echo-reply 129 pong 129 router-solicitation 133 router-advertisement 134 neighbour-solicitation 135
    neighbor-solicitation 135 neighbour-advertisement 136 neighbor-advertisement 136 redirect 137
"""


def _types(text: str) -> dict[str, tuple[int, int | None]]:
    words = text.split()
    numbers = (number.partition("/") for number in words[1::2])
    return {
        name.lower(): (int(kind), int(code) if code else None)
        for name, (kind, _, code) in zip(words[::2], numbers, strict=True)
    }


ICMP_TYPES: Mapping[Family, Mapping[str, tuple[int, int | None]]] = {
    Family.IPV4: _types(_ICMP),
    Family.IPV6: _types(_ICMPV6),
}
"""Type and code (None: any code) of every name, in lower case."""

DSCP_CLASSES: Mapping[str, int] = {
    "be": 0,
    "ef": 46,
    **{f"cs{number}": number * 8 for number in range(8)},
    **{f"af{group}{drop}": group * 8 + drop * 2 for group in range(1, 5) for drop in range(1, 4)},
}

TOS_NAMES: Mapping[str, int] = {
    "minimize-delay": 0x10,
    "maximize-throughput": 0x08,
    "maximize-reliability": 0x04,
    "minimize-cost": 0x02,
    "normal-service": 0x00,
}
