"""Model calls: one adapter a library, one table of errors."""
