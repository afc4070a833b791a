"""The machine around a run: devices and hosts, locks, the log, files, provenance."""
