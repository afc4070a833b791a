"""Checked records to a TFDS dataset: resumable, atomic, de-identified."""
