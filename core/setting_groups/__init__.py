"""The settings by subject; `core/settings.py` has them all."""
