"""What the standard demands, and lines that break it."""
