"""What keeps input from doing harm: privacy, problems, processes with limits."""
