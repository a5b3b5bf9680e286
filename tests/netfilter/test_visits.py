"""What survives of a small set is what survives of all packets, cut down to the set."""

from __future__ import annotations

from notrack.netfilter.model import Model
from notrack.netfilter.visits import survivors
from notrack.netfilter.ways import Way
from notrack.packets.address import Family
from notrack.packets.fields import Field
from notrack.packets.packet_set import PacketSet
from notrack.ruleset.formats import read_any
from notrack.text.source import Source

RULES = """\
*raw
:PREROUTING ACCEPT [0:0]
-A PREROUTING -p udp --dport 53 -j CT --notrack
COMMIT
*filter
:INPUT DROP [0:0]
-A INPUT -m conntrack --ctstate UNTRACKED -j ACCEPT
-A INPUT -p tcp --dport 22 -j ACCEPT
COMMIT
"""


def test_a_small_set_survives_as_it_does_among_all() -> None:
    model = Model(read_any(Source("rules.v4", RULES)).ruleset, Family.IPV4)
    udp = PacketSet.where(model.space, Field.PROTOCOL, 17)
    every = survivors(model, Way.LOCAL_IN)
    small = survivors(model, Way.LOCAL_IN, udp)
    assert {effects: packets & udp for effects, packets in every.items() if packets & udp} == small
    assert [packets.project(Field.DESTINATION_PORT).spans for packets in small.values()] == [((53, 53),)]


def test_nothing_survives_of_nothing() -> None:
    model = Model(read_any(Source("rules.v4", RULES)).ruleset, Family.IPV4)
    assert survivors(model, Way.LOCAL_IN, PacketSet.nothing(model.space)) == {}
