"""Every reader, given files that are damaged in every way, and the table of what comes of it."""
