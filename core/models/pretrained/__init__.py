"""The pretrained models that version 1 can be published from, read without torch."""
