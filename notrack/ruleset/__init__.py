"""Rulesets as text and as trees: `xtables/` and `nft/`, and the core to which both are lowered."""
