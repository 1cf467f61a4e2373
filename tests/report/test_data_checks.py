"""Stage 00 warns of black images and of too few samples, and lists neither where there are none."""

import cv2
import numpy as np
import pytest

from lib.labels import CHANNELS
from lib.report import data_figures
from tests.conftest import TINY, call


@pytest.fixture(autouse=True)
def without_figures(monkeypatch):
    monkeypatch.setattr(data_figures, "draw", lambda *_arguments: None)


def warnings(raw, tmp_path, capsys, *settings):
    call("00_prepare", "--preset", "smoke", "--data", raw, "--work", tmp_path, *TINY, *settings)
    return [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: ")]


def test_black_images_and_few_samples_are_warnings(raw, tmp_path, capsys):
    for subset, sample, level in (("train", "a03", 0), ("train", "a11", 7), ("test", "t02", 255)):
        for channel in CHANNELS:
            plane_HW = np.full((20, 20), level, np.uint8)
            cv2.imwrite(str(raw / subset / f"{sample}_{channel}.png"), plane_HW)
    few, train, test = warnings(raw, tmp_path, capsys)
    assert "training samples, expected at least" in few and "classes have fewer than" in few
    assert "2 of 20 train images" in train and "the first is a03" in train
    assert "1 of 5 test images" in test and "the first is t02" in test


def test_samples_that_are_left_out_are_not_listed_again(raw, tmp_path, capsys):
    (raw / "train" / "a03_red.png").write_bytes(b"")
    found = warnings(raw, tmp_path, capsys, "data.max_bad_images=1")
    assert len(found) == 2 and not any("one grey level" in line for line in found)


def test_labels_alone_are_checked_without_images(raw, tmp_path, capsys):
    (few,) = warnings(raw, tmp_path, capsys, "--labels-only")
    assert "training samples" in few
