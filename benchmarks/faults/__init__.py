"""Every reader, given files that are damaged in every way: readers, kinds of damage, and the table of what comes of it."""
