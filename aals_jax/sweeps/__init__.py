"""Many runs from one file: its trials, a search, Ray or a Slurm list, the tables."""
