"""The numbers behind the names that nft rules use: protocols, services, ICMP types and codes, DSCP, flags.

Only what is fixed by nft itself or by long custom; a name that is not here stays a name, and whoever asks
learns that its number is not known. No file of the system is read.
"""

from __future__ import annotations


def _pairs(text: str) -> dict[str, int]:
    words = text.split()
    return {name: int(number, 0) for name, number in zip(words[::2], words[1::2], strict=True)}


PROTOCOLS = _pairs(
    "icmp 1 igmp 2 ipencap 4 ipip 4 tcp 6 egp 8 udp 17 dccp 33 ipv6 41 ipv6-route 43 ipv6-frag 44 "
    "gre 47 esp 50 ah 51 icmpv6 58 ipv6-icmp 58 ipv6-nonxt 59 ipv6-opts 60 eigrp 88 ospf 89 pim 103 "
    "comp 108 ipcomp 108 vrrp 112 l2tp 115 sctp 132 mobility-header 135 udplite 136"
)
SERVICES = _pairs(
    "echo 7 discard 9 daytime 13 chargen 19 ftp-data 20 ftp 21 ssh 22 telnet 23 smtp 25 time 37 "
    "whois 43 tacacs 49 domain 53 bootps 67 bootpc 68 tftp 69 gopher 70 finger 79 http 80 kerberos 88 "
    "pop3 110 sunrpc 111 auth 113 nntp 119 ntp 123 epmap 135 netbios-ns 137 netbios-dgm 138 "
    "netbios-ssn 139 imap2 143 imap 143 snmp 161 snmp-trap 162 snmptrap 162 xdmcp 177 bgp 179 irc 194 "
    "ldap 389 https 443 microsoft-ds 445 kpasswd 464 submissions 465 isakmp 500 syslog 514 printer 515 "
    "rip 520 dhcpv6-client 546 dhcpv6-server 547 rtsp 554 nntps 563 submission 587 ipp 631 ldaps 636 "
    "domain-s 853 rsync 873 ftps-data 989 ftps 990 telnets 992 imaps 993 pop3s 995 socks 1080 "
    "openvpn 1194 ms-sql-s 1433 radius 1812 radius-acct 1813 mqtt 1883 nfs 2049 mysql 3306 "
    "ms-wbt-server 3389 svn 3690 ipsec-nat-t 4500 vxlan 4789 sip 5060 sip-tls 5061 xmpp-client 5222 "
    "mdns 5353 postgresql 5432 amqp 5672 x11 6000 redis 6379 http-alt 8080"
)
ICMP_TYPES = _pairs(
    "echo-reply 0 destination-unreachable 3 source-quench 4 redirect 5 echo-request 8 "
    "router-advertisement 9 router-solicitation 10 time-exceeded 11 parameter-problem 12 "
    "timestamp-request 13 timestamp-reply 14 info-request 15 info-reply 16 address-mask-request 17 "
    "address-mask-reply 18"
)
ICMP_CODES = _pairs(
    "net-unreachable 0 host-unreachable 1 prot-unreachable 2 port-unreachable 3 frag-needed 4 "
    "net-prohibited 9 host-prohibited 10 admin-prohibited 13"
)
ICMPV6_TYPES = _pairs(
    "destination-unreachable 1 packet-too-big 2 time-exceeded 3 parameter-problem 4 echo-request 128 "
    "echo-reply 129 mld-listener-query 130 mld-listener-report 131 mld-listener-done 132 "
    "mld-listener-reduction 132 nd-router-solicit 133 nd-router-advert 134 nd-neighbor-solicit 135 "
    "nd-neighbor-advert 136 nd-redirect 137 router-renumbering 138 ind-neighbor-solicit 141 "
    "ind-neighbor-advert 142 mld2-listener-report 143"
)
ICMPV6_CODES = _pairs(
    "no-route 0 admin-prohibited 1 addr-unreachable 3 port-unreachable 4 policy-fail 5 reject-route 6"
)
DSCP = _pairs(
    "cs0 0 cs1 8 cs2 16 cs3 24 cs4 32 cs5 40 cs6 48 cs7 56 df 0 be 0 lephb 1 af11 10 af12 12 af13 14 "
    "af21 18 af22 20 af23 22 af31 26 af32 28 af33 30 af41 34 af42 36 af43 38 va 44 ef 46"
)
TCP_FLAGS = _pairs("fin 1 syn 2 rst 4 psh 8 ack 16 urg 32 ecn 64 ece 64 cwr 128")
PACKET_TYPES = _pairs("host 0 unicast 0 broadcast 1 multicast 2 other 3")
ADDRESS_TYPES = _pairs(
    "unspec 0 unicast 1 local 2 broadcast 3 anycast 4 multicast 5 blackhole 6 unreachable 7 prohibit 8"
)
STATES = _pairs("new 0 established 1 related 2 invalid 3 untracked 4")
DIRECTIONS = _pairs("original 0 reply 1")
NF_FAMILIES = _pairs("ipv4 4 ipv6 6")
ETHER_FAMILIES = _pairs("ip 4 ip6 6 0x0800 4 0x800 4 0x86dd 6 2048 4 34525 6")
