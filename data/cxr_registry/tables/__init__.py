"""The registry's tables to checked records."""
