"""Facts: what the tools accept, and what they leave behind when they refuse."""

from __future__ import annotations

import pytest

from tests.kernel.facts import OWN
from tests.kernel.lab import Lab, LabError
from tests.kernel.ruletext import chain, nft, xt

GOOD_RAW = "-A PREROUTING -p udp --dport 53 -m comment --comment good -j CT --notrack"
JUMP_NOWHERE = "-A INPUT -j nosuch"


def test_restore_commits_one_table_at_a_time(lab: Lab, xtables: str) -> None:
    """A bad `*filter` after a good `*raw` leaves the new raw rules in force; before it, nothing."""
    raw, bad = xt(raw=[GOOD_RAW]), xt(filter=["-A INPUT -p udp --nonsense"])
    with pytest.raises(LabError):
        lab.load(xtables, v4=bad + raw)
    assert lab.counters(xtables) == []
    with pytest.raises(LabError):
        lab.load(xtables, v4=raw + bad)
    lab.client.udp(OWN[4], 53)
    assert lab.hits(xtables, "good") == 1


def test_restore_commits_before_the_kernel_refuses(lab: Lab, xtables: str) -> None:
    """The same when it is the kernel that refuses the second table (CT outside of `raw`)."""
    with pytest.raises(LabError):
        lab.load(xtables, v4=xt(raw=[GOOD_RAW], filter=["-A INPUT -p udp -j CT --notrack"]))
    assert lab.hits(xtables, "good") == 0


def test_nft_commits_everything_or_nothing(lab: Lab) -> None:
    """One bad line, whether for the parser or for the kernel, and nothing of the file is in force."""
    good = nft(chain("prerouting", "raw", "udp dport 53 notrack"))
    for bad in (
        "table inet u { nonsense }\n",
        "add rule inet t nosuch accept\n",
        "delete table inet nosuch\n",
    ):
        with pytest.raises(LabError):
            lab.load_nft(good + bad)
        assert lab.host.run("nft", "list", "ruleset").out == ""
    lab.load_nft(good)


def restore_in_new_namespace(lab: Lab, tool: str, option: str, text: str) -> tuple[int, str]:
    """Its exit status, and the legacy tables that are there afterwards, in a namespace of one command."""
    script = f"{tool} {option} >/dev/null 2>&1; echo $?; cat /proc/self/net/ip_tables_names"
    words = lab.host.run("unshare", "-n", "sh", "-c", script, text=text).out.split()
    return int(words[0]), " ".join(words[1:])


def test_nft_restore_test_accepts_a_jump_to_nowhere(lab: Lab) -> None:
    """`iptables-nft-restore --test` accepts what the real load refuses: a check is a real load in a
    throw-away namespace."""
    text = xt(filter=[JUMP_NOWHERE])
    assert restore_in_new_namespace(lab, "iptables-nft-restore", "--test", text)[0] == 0
    assert restore_in_new_namespace(lab, "iptables-nft-restore", "", text)[0] != 0


def test_legacy_restore_test_leaves_a_table(lab: Lab) -> None:
    """`iptables-legacy-restore --test` refuses the jump, but creates the table that it looked at; a
    good text does so too. The nft backend creates no legacy table."""
    for rule, refused in (("-A PREROUTING -j nosuch", True), ("-A PREROUTING -j ACCEPT", False)):
        code, tables = restore_in_new_namespace(lab, "iptables-legacy-restore", "--test", xt(raw=[rule]))
        assert ((code != 0), tables) == (refused, "raw")
    assert restore_in_new_namespace(lab, "iptables-nft-restore", "--test", xt(raw=[rule])) == (0, "")


def test_length_of_iptables_comments(lab: Lab, xtables: str) -> None:
    """They hold 255 bytes (256 with the end mark); a longer one is not refused but cut."""
    for length, kept in ((255, 255), (256, 255), (300, 255)):
        lab.load(xtables, v4=xt(filter=[f"-A INPUT -m comment --comment {'x' * length}"]))
        assert [len(one.comment) for one in lab.counters(xtables)] == [kept]


def test_length_of_nft_comments(lab: Lab) -> None:
    """They hold 128 bytes, not characters; a longer one is refused."""

    def load(comment: str) -> None:
        lab.clear()
        lab.load_nft(nft(chain("input", "filter", f'counter comment "{comment}"')))

    for comment in ("x" * 128, "\u00e9" * 64):
        load(comment)
        assert [one.comment for one in lab.counters("nft")] == [comment]
    for comment in ("x" * 129, "\u00e9" * 65):
        with pytest.raises(LabError, match="comment"):
            load(comment)


def test_nft_wants_a_line_end_before_a_brace(lab: Lab) -> None:
    """nft 1.0.6 refuses `notrack }`; a newline or `;` between them is enough."""
    text = "table inet t { chain c { type filter hook prerouting priority -300; udp dport 53 notrack%s} }\n"
    with pytest.raises(LabError, match="unexpected '}', expecting newline or semicolon"):
        lab.load_nft(text % " ")
    lab.load_nft(text.replace("} }", "}\n}") % ";")
    lab.clear()
    lab.load_nft(text.replace("} }", "}\n}") % "\n")


@pytest.mark.parametrize("tool", ["nft -f -", "iptables-nft-restore", "iptables-legacy-restore"])
def test_unshare_gives_anybody_a_namespace_to_try_rules_in(lab: Lab, tool: str) -> None:
    """`unshare -rn` gives an unprivileged user a namespace in which rules load and packets are tracked;
    the legacy tools want XTABLES_LOCKFILE on a writable path."""
    user = (
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        "env",
        "XTABLES_LOCKFILE=/dev/null",
    )
    if lab.host.run(*user, "unshare", "-rn", "true", check=False).code:
        pytest.skip("this kernel gives unprivileged users no namespaces")
    rule = "-A OUTPUT -p udp --dport 53 -j CT --notrack"
    text = xt(raw=[rule], filter=["-A OUTPUT -m conntrack --ctstate NEW"])
    if tool == "nft -f -":
        text = nft(chain("output", "raw", "udp dport 53 notrack"), chain("output", "filter", "ct state new"))
    script = (
        f"ip link set lo up; {tool} || exit 1; exec 3<>/dev/udp/127.0.0.1/53 4<>/dev/udp/127.0.0.1/54;"
        "echo a >&3; echo b >&4; cat /proc/sys/net/netfilter/nf_conntrack_count"
    )
    done = lab.host.run(*user, "unshare", "-rn", "bash", "-c", script, text=text)
    assert done.out.strip() == "1"
