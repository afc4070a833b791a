"""The phantom: a registry of drawn chest films, without any patient."""
