"""The modes of launch.py, one file each: its flags, and one call."""
