"""Many runs from one file: trials, search, Ray, a Slurm list, the summary."""
