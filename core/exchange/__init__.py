"""Labelled images in and out: archives, their layouts and formats."""
