"""Films from outside of any registry: found, read for a net, and answered in DICOM."""
