"""Every target of iptables 1.8.9, one short declaration each."""

from __future__ import annotations

from notrack.ruleset.xtables.catalogue import IPV4_ONLY, IPV6_ONLY, extension

_TRACKING = (
    extension("CT", "--notrack", "--helper WORD", "--timeout WORD", "--ctevents LIST", "--expevents LIST",
              "--zone ZONE", "--zone-orig ZONE", "--zone-reply ZONE"),
    extension("NOTRACK"),
    extension("CONNMARK", "--set-xmark MARK", "--set-mark MARK", "--and-mark INTEGER", "--or-mark INTEGER",
              "--xor-mark INTEGER", "--save-mark", "--restore-mark", "--nfmask INTEGER", "--ctmask INTEGER",
              "--mask INTEGER", "--left-shift-mark INTEGER", "--right-shift-mark INTEGER"),
    extension("CONNSECMARK", "--save", "--restore"),
    extension("SYNPROXY", "--sack-perm", "--timestamp", "--wscale INTEGER", "--mss INTEGER", "--ecn",
              terminal=True),
)  # fmt: skip

_TRANSLATION = (
    extension("DNAT", "--to-destination TRANSLATION", "--random", "--persistent", terminal=True),
    extension("SNAT", "--to-source TRANSLATION", "--random", "--random-fully", "--persistent",
              terminal=True),
    extension("MASQUERADE", "--to-ports TRANSLATION", "--random", "--random-fully", terminal=True),
    extension("REDIRECT", "--to-ports TRANSLATION", "--random", terminal=True),
    extension("NETMAP", "--to ADDRESS", terminal=True),
    extension("DNPT", "--src-pfx ADDRESS", "--dst-pfx ADDRESS", families=IPV6_ONLY),
    extension("SNPT", "--src-pfx ADDRESS", "--dst-pfx ADDRESS", families=IPV6_ONLY),
    extension("CLUSTERIP", "--new", "--hashmode WORD", "--clustermac MAC", "--total-nodes INTEGER",
              "--local-node INTEGER", "--hash-init INTEGER", families=IPV4_ONLY),
)  # fmt: skip

_VERDICTS = (
    extension("REJECT", "--reject-with WORD", terminal=True),
    extension("NFQUEUE", "--queue-num INTEGER", "--queue-balance INTEGERS", "--queue-bypass",
              "--queue-cpu-fanout", terminal=True),
    extension("TPROXY", "--on-port PORT", "--on-ip HOST", "--tproxy-mark MARK", terminal=True),
)  # fmt: skip

_NOTES = (
    extension("LOG", "--log-prefix TEXT", "--log-level WORD", "--log-tcp-sequence", "--log-tcp-options",
              "--log-ip-options", "--log-uid", "--log-macdecode"),
    extension("NFLOG", "--nflog-group INTEGER", "--nflog-prefix TEXT", "--nflog-range INTEGER",
              "--nflog-size INTEGER", "--nflog-threshold INTEGER"),
    extension("ULOG", "--ulog-nlgroup INTEGER", "--ulog-prefix TEXT", "--ulog-cprange INTEGER",
              "--ulog-qthreshold INTEGER", families=IPV4_ONLY),
    extension("AUDIT", "--type WORD"),
    extension("TRACE"),
    extension("TEE", "--gateway HOST", "--oif INTERFACE"),
    extension("LED", "--led-trigger-id TEXT", "--led-delay WORD", "--led-always-blink"),
    extension("RATEEST", "--rateest-name WORD", "--rateest-interval WORD", "--rateest-ewmalog WORD"),
    extension("IDLETIMER", "--timeout INTEGER", "--label WORD", "--alarm"),
    extension("SET", "--add-set SET SETFIELDS", "--del-set SET SETFIELDS", "--map-set SET SETFIELDS",
              "--exist", "--timeout INTEGER", "--map-mark", "--map-prio", "--map-queue"),
)  # fmt: skip

_CHANGES = (
    extension("MARK", "--set-xmark MARK", "--set-mark MARK", "--and-mark INTEGER", "--or-mark INTEGER",
              "--xor-mark INTEGER"),
    extension("HMARK", "--hmark-tuple LIST", "--hmark-mod INTEGER", "--hmark-offset INTEGER",
              "--hmark-rnd INTEGER", "--hmark-src-prefix INTEGER", "--hmark-dst-prefix INTEGER",
              "--hmark-sport-mask INTEGER", "--hmark-dport-mask INTEGER", "--hmark-spi-mask INTEGER",
              "--hmark-sport INTEGER", "--hmark-dport INTEGER", "--hmark-spi INTEGER",
              "--hmark-proto-mask INTEGER"),
    extension("SECMARK", "--selctx WORD"),
    extension("CLASSIFY", "--set-class WORD"),
    extension("CHECKSUM", "--checksum-fill"),
    extension("DSCP", "--set-dscp DSCP", "--set-dscp-class DSCP"),
    extension("TOS", "--set-tos TOS", "--and-tos INTEGER", "--or-tos INTEGER", "--xor-tos INTEGER"),
    extension("ECN", "--ecn-tcp-remove", "--ecn-tcp-cwr INTEGER", "--ecn-tcp-ece INTEGER",
              "--ecn-ip-ect INTEGER", families=IPV4_ONLY),
    extension("TTL", "--ttl-set INTEGER", "--ttl-dec INTEGER", "--ttl-inc INTEGER", families=IPV4_ONLY),
    extension("HL", "--hl-set INTEGER", "--hl-dec INTEGER", "--hl-inc INTEGER", families=IPV6_ONLY),
    extension("TCPMSS", "--set-mss INTEGER", "--clamp-mss-to-pmtu"),
    extension("TCPOPTSTRIP", "--strip-options LIST"),
)  # fmt: skip

TARGETS = _TRACKING + _TRANSLATION + _VERDICTS + _NOTES + _CHANGES
