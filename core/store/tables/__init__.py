"""The tables beside those of `core/store/schema.py`."""
