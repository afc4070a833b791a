"""Laws of a run's identity: what makes it another run, and what does not."""

import json

from aals_jax.runs import identity as identities
from configs import base


def identity(**changes):
    config = base.get_config("clavicle")
    config.update_from_flattened_dict(changes)
    return identities.of(config)


def before_other_methods(**changes):
    """As the first runs wrote it, which had none of the fields added since."""
    fields = identity(**changes)
    for name in identities.ADDED:
        *sections, field = name.split(".")
        at = fields
        for section in sections:
            at = at[section]
        del at[field]
    return json.loads(json.dumps(fields))


def test_a_run_is_itself_and_differs_by_the_fields_that_differ():
    assert identities.differences(identity(), identity()) == []
    changed = identity(**{"distill.center": 0.3, "seed": 4, "data.threads": 9})
    assert identities.differences(identity(), changed) == [
        "distill.center: 0.4 there, 0.3 now",
        "seed: 0 there, 4 now",
    ]


def test_runs_that_are_older_than_a_field_go_on():
    """And only with what they did: a field they did not read may be anything."""
    old = before_other_methods()
    unread = {"distill.cell": 16, "distill.ensemble_decay": 0.9}
    assert identities.differences(old, identity(**unread)) == []
    raised = identity(**{"distill.dead_zone": "raise"})
    assert identities.differences(old, raised) == [
        "distill.dead_zone: 'leave' there, 'raise' now"
    ]
    (told,) = identities.differences(old, identity(method="mil"))
    assert told == "method: 'aals' there, 'mil' now"


def test_every_added_field_is_one_of_the_config():
    assert identities.ADDED.keys() <= identities.flat(identity()).keys()
