"""What nft knows by name, as data: headers and their fields, meta and ct keys, options, priorities.

Reader, writer and builder all use these tables; a new field is one word here. Kept up to nft 1.1, so that
rulesets of newer hosts are read as well, though nft 1.0.6 does not know all of it.
"""

from __future__ import annotations


def words(text: str) -> frozenset[str]:
    """The words of a text as a set."""
    return frozenset(text.split())


PAYLOADS: dict[str, frozenset[str]] = {
    "ether": words("saddr daddr type"),
    "vlan": words("id dei cfi pcp type"),
    "arp": words("htype ptype hlen plen operation"),
    "ip": words("version hdrlength tos dscp ecn length id frag-off ttl protocol checksum saddr daddr"),
    "ip6": words("version dscp ecn flowlabel length nexthdr hoplimit saddr daddr priority"),
    "icmp": words("type code checksum id sequence gateway mtu"),
    "icmpv6": words(
        "type code checksum parameter-problem packet-too-big id sequence max-delay taddr daddr mtu"
    ),
    "igmp": words("type mrt checksum group"),
    "tcp": words("sport dport sequence ackseq doff reserved flags window checksum urgptr"),
    "udp": words("sport dport length checksum"),
    "udplite": words("sport dport csumcov checksum"),
    "sctp": words("sport dport vtag checksum"),
    "dccp": words("sport dport type"),
    "th": words("sport dport"),
    "ah": words("nexthdr hdrlength reserved spi sequence"),
    "esp": words("spi sequence"),
    "comp": words("nexthdr flags cpi"),
    "gre": words("flags version protocol"),
    "vxlan": words("vni flags"),
    "geneve": words("vni type"),
    "gretap": frozenset(),
}
TUNNELS = words("vxlan geneve gre gretap")
ARP_ADDRESSES = {"saddr": words("ip ether"), "daddr": words("ip ether")}

EXTENSIONS: dict[str, frozenset[str]] = {
    "hbh": words("nexthdr hdrlength"),
    "rt": words("nexthdr hdrlength type seg-left"),
    "rt0": words("addr"),
    "rt2": words("addr"),
    "srh": words("last-entry flags tag sid seg-left"),
    "frag": words("nexthdr reserved frag-off reserved2 more-fragments id"),
    "dst": words("nexthdr hdrlength"),
    "mh": words("nexthdr hdrlength type reserved checksum"),
}

META_KEYS = words(
    "length protocol nfproto l4proto priority mark iif iifname iiftype oif oifname oiftype skuid skgid "
    "nftrace rtclassid ibriport obriport ibrname obrname ibridgename obridgename pkttype cpu iifgroup "
    "oifgroup cgroup random secmark ipsec secpath iifkind oifkind ibrpvid ibrvproto sdif sdifname time "
    "day hour broute ibrhwaddr"
)
META_BARE = words(
    "mark iif iifname iiftype oif oifname oiftype skuid skgid nftrace rtclassid ibriport obriport "
    "ibrname obrname ibridgename obridgename pkttype cpu iifgroup oifgroup cgroup ipsec time day hour"
)
META_WRITTEN_BARE = words("iif iifname oif oifname iiftype oiftype")

CT_KEYS = words(
    "state direction status mark expiration helper label l3proto protocol saddr daddr proto-src proto-dst "
    "packets bytes avgpkt zone id event secmark timeout expectation count"
)
CT_DIRECTIONS = words("original reply")
L3 = words("ip ip6")

FIB_SELECTORS = words("saddr daddr mark iif oif")
FIB_RESULTS = words("type oif oifname check")
ROUTE_KEYS = words("classid nexthop mtu ipsec")
SOCKET_KEYS = words("transparent mark wildcard cgroupv2")
OSF_KEYS = words("name version")
IPSEC_KEYS = words("reqid spi saddr daddr")

TCP_OPTIONS = words(
    "eol nop noop maxseg mss window sack-perm sack-permitted sack sack0 sack1 sack2 sack3 timestamp "
    "echo md5sig mptcp fastopen"
)
OPTION_FIELDS = words("kind length size count left right tsval tsecr subtype addr ptr value type flags")
IP_OPTIONS = words("lsrr rr ssrr ra")
SCTP_CHUNKS = words(
    "data init init-ack sack heartbeat heartbeat-ack abort shutdown shutdown-ack error cookie-echo "
    "cookie-ack ecne cwr shutdown-complete asconf-ack forward-tsn asconf"
)
CHUNK_FIELDS = words(
    "type flags length tsn stream ssn ppid init-tag a-rwnd num-outbound-streams num-inbound-streams "
    "initial-tsn cum-tsn-ack num-gap-ack-blocks num-dup-tsns lowest-tsn seqno new-cum-tsn"
)

VERDICTS = words("accept drop continue return")
JUMPS = words("jump goto")
NAT_KINDS = words("snat dnat masquerade redirect")
NAT_FLAGS = words("random fully-random persistent")
QUEUE_FLAGS = words("bypass fanout")

CHAIN_TYPES = words("filter nat route")
HOOKS: dict[str, frozenset[str]] = {
    "ip": words("prerouting input forward output postrouting"),
    "ip6": words("prerouting input forward output postrouting"),
    "inet": words("prerouting input forward output postrouting ingress"),
    "arp": words("input output"),
    "bridge": words("prerouting input forward output postrouting"),
    "netdev": words("ingress egress"),
}
ALL_HOOKS: frozenset[str] = frozenset().union(*HOOKS.values())
PRIORITIES: dict[str, int] = {
    "raw": -300,
    "mangle": -150,
    "dstnat": -100,
    "filter": 0,
    "security": 50,
    "srcnat": 100,
}
PRIORITY_HOOKS = {"dstnat": "prerouting", "srcnat": "postrouting"}  # later versions know more
BRIDGE_PRIORITIES: dict[str, int] = {"dstnat": -300, "filter": -200, "out": 100, "srcnat": 300}

# Set keys and helpers whose values nft prints in quotes.
STRING_KEYS = words(
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
