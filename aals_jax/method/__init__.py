"""The paper's method and what it is compared with: pure functions of arrays."""
