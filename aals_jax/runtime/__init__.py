"""The machine around a run: devices and hosts, cores, the log, files, provenance."""
