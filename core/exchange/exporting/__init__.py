"""The labelled set as an archive or a file."""
