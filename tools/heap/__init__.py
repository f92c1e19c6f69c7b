"""The heap that a config needs on a board: measured figures, an estimate, and its check."""
