"""The site language: text to syntax tree to a resolved `Site`. Knows nothing about tables and chains."""
