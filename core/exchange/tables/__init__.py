"""Tables of labelled texts: CSV, JSON lines, and lists of JSON."""
