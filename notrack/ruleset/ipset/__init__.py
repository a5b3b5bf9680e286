"""Contents of ipsets: what `ipset save` and `ipset list` print, and what `ipset restore` reads."""
