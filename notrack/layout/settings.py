"""The `tracking` lines of a site as kernel settings: sysctl.d and modprobe.d files."""

from __future__ import annotations

from notrack.site.model import Site
from notrack.site.tables.timeout_names import sysctl_key

_PAGE_OF_BUCKETS = 512  # the kernel rounds the number of buckets up to a page of pointers


def buckets(room: int) -> int:
    """As many buckets as entries, as kernels since 5.15 size the table themselves; rounded as they round."""
    return max(1024, -(-room // _PAGE_OF_BUCKETS) * _PAGE_OF_BUCKETS)


def sysctl(site: Site) -> str:
    """A file for /etc/sysctl.d; comments alone where the site says nothing about the table."""
    lines = [
        f"# Connection tracking of site {site.name}, compiled by notrack: for /etc/sysctl.d/90-notrack.conf.",
        "# Keys under net.netfilter exist only once nf_conntrack is loaded: list it in /etc/modules-load.d.",
    ]
    if site.tracking.room is not None:
        lines.append(f"net.netfilter.nf_conntrack_buckets = {buckets(site.tracking.room)}")
        lines.append(f"net.netfilter.nf_conntrack_max = {site.tracking.room}")
    lines += [f"{sysctl_key(name)} = {seconds}" for name, seconds in site.tracking.timeouts]
    if len(lines) == 2:
        lines.append("# The site has no `tracking room` and no `tracking timeout`: nothing to set.")
    return "\n".join(lines) + "\n"


def modprobe(site: Site) -> str:
    """A file for /etc/modprobe.d, so that the table has its size from the first packet on."""
    lines = [
        f"# Connection tracking of site {site.name}, compiled by notrack: for /etc/modprobe.d/notrack.conf."
    ]
    if site.tracking.room is None:
        lines.append("# The site has no `tracking room`: nothing to set.")
    else:
        lines.append(
            "# hashsize alone would make nf_conntrack_max eight times as large: keep the sysctl file with it."
        )
        lines.append(f"options nf_conntrack hashsize={buckets(site.tracking.room)}")
    return "\n".join(lines) + "\n"
