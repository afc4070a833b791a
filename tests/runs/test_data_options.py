"""Laws of the way from a config to the records of its data."""

import pytest

from aals_jax.runs import data_options
from configs import base

# Another value for each field of config.data.
OTHER = {
    "dir": "elsewhere",
    "key_file": "elsewhere/key",
    "side": 64,
    "bits": 16,
    "fold": 3,
    "seed": 7,
    "region_images": 5,
    "label_noise": 0.25,
    "max_bad_share": 0.5,
    "allow": ("bad_date",),
    "parts_file": "parts.csv",
    "keep_non_acute": True,
    "point_radius": 8.0,
    "workers": 0,
    "timeout_s": 1.0,
    "memory_gib": 1.0,
    "beam": "--runner=DirectRunner",
}
REPORTS = {
    "read": "never",
    "languages": ("de",),
    "rules": "rules.csv",
    "labels": "labels.csv",
    "silence": "unknown",
}
OTHER_PHANTOM = {
    "images": 7,
    "height": 99,
    "difficulty": "easy",
    "prevalence": 0.5,
    "boxed_share": 0.5,
    "region_images": 3,
    "seed": 7,
}
NOT_OF_THE_DATA = {"reports", "threads"}  # a section; the input pipeline's


def test_every_field_is_given_another_value_here():
    config = base.get_config("rib")
    assert OTHER.keys() == {*config.data.keys()} - NOT_OF_THE_DATA
    assert REPORTS.keys() == {*config.data.reports.keys()}
    assert OTHER_PHANTOM.keys() == {*config.phantom.keys()}


@pytest.mark.parametrize(
    "field",
    [
        *(f"data.{name}" for name in OTHER),
        *(f"data.reports.{name}" for name in REPORTS),
        *(f"phantom.{name}" for name in OTHER_PHANTOM),
    ],
)
def test_every_field_reaches_a_record(field):
    values = {f"data.{name}": value for name, value in OTHER.items()}
    values |= {f"data.reports.{name}": value for name, value in REPORTS.items()}
    values |= {f"phantom.{name}": value for name, value in OTHER_PHANTOM.items()}
    config = base.get_config("rib")
    before = data_options.of(config)
    assert data_options.of(config) == before
    config.update_from_flattened_dict({field: values[field]})
    assert data_options.of(config) != before


def test_a_registry_is_read_for_the_finding_and_the_phantom_for_both():
    config = base.get_config("clavicle")
    drawn = data_options.of(config)
    assert drawn.phantom and drawn.source == "phantom"
    assert drawn.build.findings == ("rib", "clavicle")
    assert drawn.build.registry.parent == drawn.build.data_dir
    config.registry = "hospital"
    real = data_options.of(config)
    assert real.phantom is None and real.source == "registry"
    assert real.build.findings == ("clavicle",)
    assert str(real.build.registry) == "hospital"


def test_the_phantoms_r_is_small_and_no_registrys_is_unless_it_is_asked_for():
    config = base.get_config("clavicle")
    assert data_options.selection_of(config).region_images == 16
    config.registry = "hospital"
    assert data_options.selection_of(config).region_images is None
    config.data.region_images = 40
    assert data_options.selection_of(config).region_images == 40
    config.registry = None
    assert data_options.selection_of(config).region_images == 40


@pytest.mark.parametrize(
    ("scale", "field", "value", "message"),
    [
        ("paper", "seed", 0, "the paper's recipe needs a registry"),
        ("laptop", "finding", "nodule", "'nodule' is not in the phantom"),
        ("laptop", "phantom.difficulty", "odd", "phantom.difficulty='odd': use one of"),
        ("laptop", "phantom.images", 0, "phantom: images=0; use 1 to"),
        ("laptop", "data.key_file", "runs/datasets/cxr_registry/key", "keep the key"),
    ],
)
def test_what_the_data_can_not_be_is_told(scale, field, value, message):
    config = base.get_config("rib", scale)
    config.update_from_flattened_dict({field: value})
    with pytest.raises(ValueError, match=message):
        data_options.of(config)
