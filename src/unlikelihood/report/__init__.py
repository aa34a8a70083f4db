"""The pages that people read, each one HTML file with its style and figures inside."""
