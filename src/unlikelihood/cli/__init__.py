"""The command line: its arguments, its commands, and the tables that they write."""
