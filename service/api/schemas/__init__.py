"""What requests and responses hold, as JSON."""
