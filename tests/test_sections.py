"""The sections of settings: values that are derived from others, and bounds that sections share."""

import dataclasses

import pytest

from lib import config, presets
from lib.config import override
from lib.errors import UserError
from lib.sections import Training
from tests.test_contradictions import make


def test_crops_are_in_pixels_or_shares_of_the_array():
    for crop, expected in (
        ((0,), (0, 0)),
        ((24,), (24, 24)),
        ((16, 48.0), (16, 48)),
        ((0.667, 1), (43, 64)),
        ((0.5,), (32, 32)),
    ):
        assert Training(size=64, crop=crop).crop_sides == expected
        assert Training(size=16, array_size=64, crop=crop).crop_sides == expected
    row = config.list_settings(make(training=Training(size=64, crop=(16, 48))))
    assert next(one.value for one in row if one.name == "training.crop") == "16,48"


def test_every_seed_has_the_range_of_all_generators():
    seeds = [
        section
        for section, kind in config.SECTIONS.items()
        for item in dataclasses.fields(kind)
        if "seed" in item.name
    ]
    assert len(seeds) == 3
    for section in seeds:
        for outside in (-1, 2**32, 10**30):
            with pytest.raises(UserError, match=rf"{section}\.seed={outside}: expected 0 to 4294967295"):
                override(presets.SMOKE, (f"{section}.seed={outside}",))
        override(presets.SMOKE, (f"{section}.seed={2**32 - 1}",))


@pytest.mark.parametrize("name", ["../../x", "/x", "..", "a/b", "x" * 300, "cache", "Train", "test"])
def test_the_folder_of_simulated_cells_lies_in_data_and_is_its_own(name):
    with pytest.raises(UserError, match=r"simulation\.name"):
        presets.load("smoke", [f"simulation.name={name}"])
