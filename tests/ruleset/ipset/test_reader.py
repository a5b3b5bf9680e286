"""Texts of ipset: what is read, what is refused, what is there in the end."""

from __future__ import annotations

import pytest

from notrack.ruleset.ipset.reader import read
from notrack.ruleset.ipset.tree import Change, Collection, Create, Member, Set, in_force, write
from notrack.ruleset.recognition import Format, recognised
from notrack.text.source import Source

SAVED = """\
create bad hash:ip family inet hashsize 1024 maxelem 65536 bucketsize 12 initval 0xe8c1354d
add bad 192.0.2.1
create web hash:ip,port family inet6 hashsize 1024 maxelem 65536 timeout 300 counters comment
add web 2001:db8::1,tcp:80 timeout 299 packets 0 bytes 0 comment "the old one"
add web 2001:db8::1,udp:53 timeout 0 packets 0 bytes 0
create all list:set size 8
add all bad
"""
LISTED = """\
Name: bad
Type: hash:net
Revision: 7
Header: family inet hashsize 1024 maxelem 65536 timeout 600 bucketsize 12 initval 0x93f15aea
Size in memory: 256
References: 2
Number of entries: 2
Members:
192.0.2.0/24 timeout 599
192.0.2.128/25 nomatch timeout 0

Name: none
Type: list:set
Revision: 3
Header: size 8
Size in memory: 80
References: 0
Number of entries: 0
Members:
"""


def collection(text: str) -> Collection:
    made, problems = read(Source("sets", text))
    assert problems == ()
    return made


def sets(text: str) -> dict[str, Set]:
    return in_force(collection(text).lines)


def test_what_was_saved_is_read() -> None:
    found = sets(SAVED)
    assert [(one.name, one.type, len(one.members)) for one in found.values()] == [
        ("bad", "hash:ip", 1),
        ("web", "hash:ip,port", 2),
        ("all", "list:set", 1),
    ]
    assert found["web"].setting("family") == "inet6" and found["web"].setting("timeout") == "300"
    assert found["web"].members[0].setting("comment") == "the old one"
    assert found["web"].members[1].setting("timeout") == "0"


def test_every_part_knows_its_place() -> None:
    source = Source("sets", SAVED)
    made, _ = read(source)
    for line in made.lines:
        if isinstance(line, Create | Change):
            assert line.span is not None and line.span.text.startswith(("create ", "add "))
    member = in_force(made.lines)["bad"].members[0]
    assert member.span is not None and member.span.text == "add bad 192.0.2.1"


def test_a_listing_is_read_like_what_was_saved() -> None:
    found = sets(LISTED)
    assert found["bad"] == Set(
        "bad",
        "hash:net",
        found["bad"].settings,
        (
            Member("192.0.2.0/24", (("timeout", "599"),)),
            Member("192.0.2.128/25", (("nomatch", ""), ("timeout", "0"))),
        ),
    )
    assert found["none"].members == ()


@pytest.mark.parametrize("text", [SAVED, LISTED])
def test_what_is_written_back_is_read_alike(text: str) -> None:
    made = collection(text)
    assert in_force(collection(write(made)).lines) == in_force(made.lines)
    assert write(collection(write(made))) == write(made)


def test_commands_act_one_after_another() -> None:
    text = (
        "create a hash:ip\nadd a 192.0.2.1\nadd a 192.0.2.2\ndel a 192.0.2.1\n"
        "create b hash:ip\nadd b 192.0.2.9\nswap a b\nrename a c\ncreate d hash:ip\ndestroy d\n"
        "create e hash:ip\nadd e 192.0.2.7\nflush e\nadd nobody 192.0.2.8\n"
    )
    found = sets(text)
    assert {name: [member.key for member in one.members] for name, one in found.items()} == {
        "b": ["192.0.2.2"],
        "c": ["192.0.2.9"],
        "e": [],
    }


def test_the_words_of_old() -> None:
    text = (
        "-N bad iphash --hashsize 1024 --probes 4\n-A bad 192.0.2.1\n-N p portmap --from 1 --to 99\nCOMMIT\n"
    )
    found = sets(text)
    assert (found["bad"].type, found["p"].type) == ("hash:ip", "bitmap:port")
    assert [member.key for member in found["bad"].members] == ["192.0.2.1"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("creat a hash:ip", "no command 'creat'"),
        ("create a", "create needs a name and a type"),
        ("create a hash", "no type 'hash'"),
        ("add a", "add needs a set and an entry"),
        ("create a hash:ip colour red", "no option 'colour'"),
        ("Name: a", "the set a is listed without a type"),
        ("Name: a\nType: hash:ip", "the set a is listed without its members"),
    ],
)
def test_what_is_wrong_is_told_at_its_place(line: str, message: str) -> None:
    made, problems = read(Source("sets", f"# sets\n{line}\n"))
    assert [problem.message for problem in problems][:1] == [message]
    assert problems[0].span is not None and problems[0].span.start >= 7
    assert made.lines


@pytest.mark.parametrize(
    "text",
    [SAVED, LISTED, "# x\n\n-N bad iphash\n", "add bad 192.0.2.1\n", "add six 2001:db8::/32\n", "<ipsets>\n",
     "#!/usr/sbin/ipset restore\ncreate a hash:ip\n"],
)  # fmt: skip
def test_it_is_known_by_what_stands_in_it(text: str) -> None:
    assert recognised(text) is Format.IPSET


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("add table ip x\n", Format.NFT),
        ("create chain ip x y\n", Format.NFT),
        ("add element ip x s { 192.0.2.1 }\n", Format.NFT),
        ("-N LOGDROP\n-A LOGDROP -j DROP\n", Format.XTABLES),
        ("-A INPUT -s 192.0.2.1 -j DROP\n", Format.XTABLES),
        ("ipset create bad hash:ip\n", Format.SHELL),
    ],
)
def test_what_looks_a_little_like_it_is_something_else(text: str, form: Format) -> None:
    assert recognised(text) is form


def test_words_behind_a_dash_that_are_no_option_stay_as_they_are() -> None:
    """A comment whose quotes do not begin the word: what is written back reads the same."""
    text = 'create web hash:ip,port comment\nadd web 192.0.2.1,tcp:80 comment -"the old one"\n'
    made, problems = read(Source("sets", text))
    assert problems
    again, _ = read(Source("again", write(made)))
    assert again.lines == made.lines
