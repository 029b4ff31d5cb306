"""Routes for labelled images in and out."""
