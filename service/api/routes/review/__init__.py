"""Routes to look at what is labelled and predicted, and at what versions make of it."""
