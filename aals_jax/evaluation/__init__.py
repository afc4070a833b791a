"""From maps, or anybody's tables, to the one record that metrics.json holds."""
