"""Samples are listed by the names of their images, and images in another place are found."""

import pytest

from lib.data import image_folders
from lib.errors import UserError


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_hidden_files_and_other_kinds_are_ignored(tmp_path):
    touch(tmp_path, "a_red.png", "a_Green.TIFF", "._a_blue.png", ".DS_Store", "Thumbs.db", "desktop.ini")
    touch(tmp_path, "a_yellow.bmp", "_green.png", "notes.txt", "a.png")
    assert image_folders.list_channels(tmp_path) == ({"a": {"red", "green"}}, ["_green.png", "a.png"])


def test_merged_pictures_of_the_atlas_are_no_samples(tmp_path):
    touch(tmp_path, "1_A1_2_red.jpg", "1_A1_2_blue_red_green.jpg", "1_A1_2_blue_red_green_yellow.jpg")
    touch(tmp_path, "1_A1_2_merged.jpg", "1_A1_2_Blue_Red.jpg", "2_B_blue_red_green.jpg")
    channels, others = image_folders.list_channels(tmp_path)
    assert channels == {"1_A1_2": {"red"}}
    assert others == ["1_A1_2_merged.jpg", "2_B_blue_red_green.jpg"], "not a channel, and of no sample"
    touch(tmp_path, *(f"cell_red_{channel}.png" for channel in ("red", "green", "blue", "yellow")))
    assert "cell_red" in image_folders.list_channels(tmp_path)[0], "a sample that is named after a channel"


def test_a_sample_is_not_taken_for_a_picture_of_another(tmp_path):
    touch(tmp_path, "f1_red.png", "f1_green_red.png", "f1_green_green.png")  # blue and yellow are missing
    touch(tmp_path, "f1_2_red.OME.tif", "f1_2_green.ome.tiff", "f1_2_b.png")
    assert image_folders.list_channels(tmp_path) == (
        {"f1": {"red"}, "f1_green": {"red", "green"}, "f1_2": {"red", "green"}}, ["f1_2_b.png"]
    )  # fmt: skip


def test_a_folder_that_cannot_be_listed_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"nowhere cannot be listed: No such file or directory"):
        image_folders.list_channels(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([], ["it is empty"]),
        (["notes.txt"], ["1 file, 'notes.txt'"]),
        (["b.txt", "a.txt"], ["2 files, such as 'a.txt'"]),
        (["sub/a_red.png", "sub2/x.txt"], ["cells/sub does", "move them"]),
        (["__MACOSX/._a_red.png", "deep/er/a_Red.PNG"], ["cells/deep/er does"]),
        (["cells.zip", "other.zip"], ["unpack", "cells/cells.zip"]),
        (["a_red.tif.gz"], ["unpack", "a_red.tif.gz"]),
    ],
)
def test_images_are_located(tmp_path, names, words):
    (tmp_path / "cells").mkdir()
    found = image_folders.locate(touch(tmp_path / "cells", *names))
    assert all(word in found for word in words), found


def test_what_lies_beside_the_folder_is_named(tmp_path):
    assert image_folders.locate(tmp_path / "train", [tmp_path]) == "it does not exist"
    touch(tmp_path, "a_red.png")
    assert f"{tmp_path} contains images" in image_folders.locate(tmp_path / "train", [tmp_path])
    touch(tmp_path, "all.zip", "train.7z")
    assert f"unpack {tmp_path / 'train.7z'}" in image_folders.locate(tmp_path / "train", [tmp_path])
    assert "not a folder" in image_folders.locate(tmp_path / "a_red.png")
