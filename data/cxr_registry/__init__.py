"""A hospital's fracture registry as a TFDS dataset: read, checked, de-identified."""
