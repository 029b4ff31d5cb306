"""What depends on the driver of a database."""
