"""What made a result can be told: versions and commit."""

import jax

from aals_jax.runtime import provenance


def test_versions_and_commit_can_be_told():
    told = provenance.versions()
    assert told["jax"] == jax.__version__
    assert all(told.values())
    assert provenance.commit()
