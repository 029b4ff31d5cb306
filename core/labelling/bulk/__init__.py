"""Labels by the hundred: one transaction for all that can be stored, and a result for each."""
