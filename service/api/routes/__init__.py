"""One file for a noun of the HTTP surface."""
