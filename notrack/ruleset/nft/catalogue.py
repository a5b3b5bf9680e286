"""What nft knows by name, as data: headers and their fields, meta and ct keys, options, priorities.

Reader, writer and builder all use these tables; a new field is one word here. Kept up to nft 1.1, so that
rulesets of newer hosts are read as well, though nft 1.0.6 does not know all of it.
"""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


PAYLOADS: dict[str, frozenset[str]] = {
    "ether": _words("saddr daddr type"),
    "vlan": _words("id dei cfi pcp type"),
    "arp": _words("htype ptype hlen plen operation"),
    "ip": _words("version hdrlength tos dscp ecn length id frag-off ttl protocol checksum saddr daddr"),
    "ip6": _words("version dscp ecn flowlabel length nexthdr hoplimit saddr daddr priority"),
    "icmp": _words("type code checksum id sequence gateway mtu"),
    "icmpv6": _words(
        "type code checksum parameter-problem packet-too-big id sequence max-delay taddr daddr mtu"
    ),
    "igmp": _words("type mrt checksum group"),
    "tcp": _words("sport dport sequence ackseq doff reserved flags window checksum urgptr"),
    "udp": _words("sport dport length checksum"),
    "udplite": _words("sport dport csumcov checksum"),
    "sctp": _words("sport dport vtag checksum"),
    "dccp": _words("sport dport type"),
    "th": _words("sport dport"),
    "ah": _words("nexthdr hdrlength reserved spi sequence"),
    "esp": _words("spi sequence"),
    "comp": _words("nexthdr flags cpi"),
    "gre": _words("flags version protocol"),
    "vxlan": _words("vni flags"),
    "geneve": _words("vni type"),
    "gretap": frozenset(),
}
TUNNELS = _words("vxlan geneve gre gretap")
ARP_ADDRESSES = {"ip": _words("saddr daddr"), "ether": _words("saddr daddr")}

EXTENSIONS: dict[str, frozenset[str]] = {
    "hbh": _words("nexthdr hdrlength"),
    "rt": _words("nexthdr hdrlength type seg-left"),
    "rt0": _words("addr"),
    "rt2": _words("addr"),
    "srh": _words("last-entry flags tag sid seg-left"),
    "frag": _words("nexthdr reserved frag-off reserved2 more-fragments id"),
    "dst": _words("nexthdr hdrlength"),
    "mh": _words("nexthdr hdrlength type reserved checksum"),
}

META_KEYS = _words(
    "length protocol nfproto l4proto priority mark iif iifname iiftype oif oifname oiftype skuid skgid "
    "nftrace rtclassid ibriport obriport ibrname obrname ibridgename obridgename pkttype cpu iifgroup "
    "oifgroup cgroup random secmark ipsec secpath iifkind oifkind ibrpvid ibrvproto sdif sdifname time "
    "day hour broute ibrhwaddr"
)
META_BARE = _words(
    "mark iif iifname iiftype oif oifname oiftype skuid skgid nftrace rtclassid ibriport obriport "
    "ibrname obrname ibridgename obridgename pkttype cpu iifgroup oifgroup cgroup ipsec time day hour"
)
META_WRITTEN_BARE = _words("iif iifname oif oifname iiftype oiftype")

CT_KEYS = _words(
    "state direction status mark expiration helper label l3proto protocol saddr daddr proto-src proto- "
    "dst packets bytes avgpkt zone id event secmark timeout expectation count"
)
CT_DIRECTIONS = _words("original reply")
L3 = _words("ip ip6")

FIB_SELECTORS = _words("saddr daddr mark iif oif")
FIB_RESULTS = _words("type oif oifname check")
ROUTE_KEYS = _words("classid nexthop mtu ipsec")
SOCKET_KEYS = _words("transparent mark wildcard cgroupv2")
OSF_KEYS = _words("name version")
IPSEC_KEYS = _words("reqid spi saddr daddr")

TCP_OPTIONS = _words(
    "eol nop noop maxseg mss window sack-perm sack-permitted sack sack0 sack1 sack2 sack3 timestamp "
    "echo md5sig mptcp fastopen"
)
OPTION_FIELDS = _words(
    "kind length size count left right tsval tsecr subtype addr ptr value type flags"
)
IP_OPTIONS = _words("lsrr rr ssrr ra")
SCTP_CHUNKS = _words(
    "data init init-ack sack heartbeat heartbeat-ack abort shutdown shutdown-ack error cookie-echo "
    "cookie-ack ecne cwr shutdown-complete asconf-ack forward-tsn asconf"
)
CHUNK_FIELDS = _words(
    "type flags length tsn stream ssn ppid init-tag a-rwnd num-outbound-streams num-inbound-streams "
    "initial-tsn cum-tsn-ack num-gap-ack-blocks num-dup-tsns lowest-tsn seqno new-cum-tsn"
)

VERDICTS = _words("accept drop continue return")
JUMPS = _words("jump goto")
NAT_KINDS = _words("snat dnat masquerade redirect")
NAT_FLAGS = _words("random fully-random persistent")
QUEUE_FLAGS = _words("bypass fanout")

CHAIN_TYPES = _words("filter nat route")
HOOKS: dict[str, frozenset[str]] = {
    "ip": _words("prerouting input forward output postrouting"),
    "ip6": _words("prerouting input forward output postrouting"),
    "inet": _words("prerouting input forward output postrouting ingress"),
    "arp": _words("input output"),
    "bridge": _words("prerouting input forward output postrouting"),
    "netdev": _words("ingress egress"),
}
PRIORITIES: dict[str, int] = {
    "raw": -300,
    "mangle": -150,
    "dstnat": -100,
    "filter": 0,
    "security": 50,
    "srcnat": 100,
}
BRIDGE_PRIORITIES: dict[str, int] = {"dstnat": -300, "filter": -200, "out": 100, "srcnat": 300}

# Set keys and helpers whose values nft prints in quotes.
STRING_KEYS = _words(
    "iif iifname oif oifname ibrname obrname ibridgename obridgename sdif sdifname iifkind oifkind "
    "helper iiftype oiftype skuid skgid iifgroup oifgroup secmark timeout expectation name version time "
    "hour day cgroupv2"
)


def priority_number(family: str, name: str | None, offset: int) -> int | None:
    """The number behind a priority's name and offset; None when the family knows no such name."""
    if name is None:
        return offset
    table = BRIDGE_PRIORITIES if family == "bridge" else PRIORITIES
    return table[name] + offset if name in table else None
