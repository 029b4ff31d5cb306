"""What labelled images come from, and which label each has."""
