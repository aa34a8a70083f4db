"""A fitted detector behind HTTP: files and arrays come in, scores, p-values and decisions go out."""
