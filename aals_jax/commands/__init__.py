"""The modes of launch.py, one module each: its flags, and one call.

A module names its flags in a `Command` and imports what it calls inside the call:
`--help` and a mistyped flag are answered before JAX is imported.
"""
