"""The queue: what is most worth a person's time to label."""
