"""What carries attempts to where they run."""
