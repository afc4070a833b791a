"""Digests of trees of arrays: whether two of them are the same, bit for bit."""

import hashlib
from typing import Any

import jax
import numpy as np


def of_tree(tree: Any, *, also: str = "") -> str:
    """SHA-256 in hex of a tree's leaves, with their names, dtypes and shapes.

    The names are the same for a record and for the dict that is restored of it.

    Args:
      tree: of arrays.
      also: text that belongs to it.
    """
    sha = hashlib.sha256(also.encode())
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    named = {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf
        for path, leaf in leaves
    }
    for name, leaf in sorted(named.items()):
        array = np.asarray(leaf)
        sha.update(f"{name} {array.dtype} {array.shape}".encode())
        sha.update(array.tobytes())
    return sha.hexdigest()
