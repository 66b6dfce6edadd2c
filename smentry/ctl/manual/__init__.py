"""Shell completion and man pages, made from the same source as the help."""
