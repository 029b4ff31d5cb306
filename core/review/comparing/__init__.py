"""Two versions compared on held-out examples, and what one takes for what."""
