"""Reports: each is one HTML file that contains its style and figures, with the record and the plots behind it."""
