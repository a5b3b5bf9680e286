"""Shell scripts of firewall commands: a syntax reader, an interpreter of literals, and what the tables look
like after the script."""
