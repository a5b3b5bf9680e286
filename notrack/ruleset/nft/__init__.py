"""Native nft rulesets: a tree that keeps the text, a reader of text and JSON, a writer.

`tree` holds the nouns, `builder` makes them by hand, `writer` prints what nft 1.0.6 loads, `reader` and
`json_reader` read.
"""
