"""From files to label events, with a report of what became of each."""
