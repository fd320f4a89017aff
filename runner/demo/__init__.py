"""Stories that the runner tells about itself, on this machine and without keys."""
