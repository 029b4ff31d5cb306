"""Lists of examples, kept predictions and classes: filters, sorts and cursors."""
