"""The command line: one thin file a command; everything else lives in the other rooms."""
