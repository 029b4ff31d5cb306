"""Routes for labelled inputs in and out."""
