echo hello from a file
