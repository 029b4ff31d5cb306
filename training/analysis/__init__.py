"""What a run leaves to find out: suspects, what is unfamiliar, a map, and the learning curve."""
