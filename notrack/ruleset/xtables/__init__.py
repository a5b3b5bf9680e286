"""iptables-save and iptables-restore text: its words, its tree, its catalogue, a reader and a writer."""
