"""The state of the installation: as one response, and as a stream of what changes."""
