"""Drafts from what is there: the smallest change to somebody's rules, and a site from them."""
