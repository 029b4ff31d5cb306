"""Who may send what: checked before anything else of a request is looked at."""
