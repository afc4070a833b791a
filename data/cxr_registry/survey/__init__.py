"""What an audit counts in a registry."""
