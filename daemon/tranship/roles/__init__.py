"""One file per role: which steps it takes, and in what order."""
