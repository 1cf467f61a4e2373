"""Kaggle's tables and images are read as they are, or rejected with file, line and value."""

import os
import shutil

import cv2
import numpy as np
import pytest

from lib.data import kaggle
from lib.data.kaggle import BadImage
from lib.errors import UserError
from tests.conftest import REAL, needs_real, write_sample


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, ["is missing", "put Kaggle's files in", "--data FOLDER"]),
        ("", ["is empty", "Id,Target"]),
        ("Id,Target\n", ["no rows", "one row per sample"]),
        ("Id,Label\na,1\n", ["Id,Label", "expected the columns Id,Target"]),
        ("Id,Target\na,1\nb,2\na,3\n", ["line 4", "Id 'a' ", "line 2"]),
        ("Id,Target\na,1\n../b,2\n", ["line 3", "'../b'", "file name"]),
        ("Id,Target\na/b,1\n", ["line 2", "'a/b'"]),
        ("Id,Target\n..,1\n", ["line 2", "'..'"]),
        ("Id,Target\na\\b,1\n", ["line 2", "file name"]),
        ("Id,Target\na\tb,1\n", ["line 2", "file name"]),
        ("Id,Target\n,1\n", ["line 2", "Id is empty"]),
        ("Id,Target\na,1\n\n ,2\n", ["line 4", "Id is empty"]),
        ("Id,Target\na,\n", ["line 2", "Target has no label"]),
        ("Id,Target\na,1 x\n", ["line 2", "'x'", "expected 0-27"]),
        ("Id,Target\na,1\nb,28\n", ["line 3", "28", "expected 0-27"]),
        ("Id,Target\na,-3\n", ["line 2", "'-3'", "expected 0-27"]),
        ("Id,Target\na,3 3\n", ["line 2", "'3 3'"]),
        ("Id,Target\na,1\nb,1,2\n", ["line 3", "3 fields", "2"]),
        ("Id,Target\na,1,2\nb,1,2\n", ["line 2", "3 fields", "2"]),
        (b"Id,Target\n\xff\xfe,1\n", ["line 2", "not UTF-8", "Id,Target"]),
        ("Id,Target\na,1\nb ,2\n", ["line 3", "'b '", "a space"]),
        (f"Id,Target\n{'é' * 121},1\n", ["line 2", "too long for a file name", "240"]),
        ("Id,Target\na,1.0\n", ["line 2", "'1.0'", "expected 0-27"]),
        (f"Id,Target\na,{'9' * 5000}\n", ["line 2", "out of range", "expected 0-27"]),
    ],
)
def test_a_bad_table_is_explained_in_one_line(raw, text, words):
    path = raw / "train.csv"
    if text is None:
        path.unlink()
    else:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError) as error:
        kaggle.read_labels(raw)
    assert str(error.value).startswith(str(path)) and "\n" not in str(error.value)
    assert all(word in str(error.value) for word in words), str(error.value)


def test_a_byte_order_mark_blank_lines_and_more_columns_are_accepted(raw):
    (raw / "train.csv").write_bytes(b"\xef\xbb\xbfnote,Id,Target\r\nx,a,1\r\n\r\ny,b,2 0\r\n")
    assert kaggle.read_labels(raw) == (["a", "b"], [(1,), (0, 2)])


def test_ids_are_text(raw):
    ids = ["NA", "null", "nan", "None", "001", "1e5", "inf", "True", "é", "=1+1", "-", "a b", "A", "a"]
    (raw / "train.csv").write_text("Id,Target\n" + "".join(f"{sample},1\n" for sample in ids))
    index = kaggle.read_tables(raw)
    assert index.train_ids == ids and index.test_ids[0] == "t00"


def test_an_id_in_both_tables_is_an_error_with_both_lines(raw):
    (raw / "train.csv").write_text("Id,Target\nb,1\na,2\nc,3\n")
    (raw / "sample_submission.csv").write_text("Id,Predicted\nx,0\n\nc,0\na,0\n")
    with pytest.raises(UserError) as error:
        kaggle.read_tables(raw)
    for word in (f"{raw / 'sample_submission.csv'}, line 4", "'c'", f"{raw / 'train.csv'}, line 4", "2 ids"):
        assert word in str(error.value)


def test_labels_and_test_ids_keep_the_files_order(raw):
    ids, targets = kaggle.read_labels(raw)
    assert ids[:2] == ["a00", "a01"] and targets[:2] == [(0, 25), (1,)]
    assert kaggle.read_tables(raw).test_ids == [f"t{row:02d}" for row in range(5)]
    (raw / "sample_submission.csv").unlink()
    with pytest.raises(UserError, match=r"sample_submission.csv is missing"):
        kaggle.read_tables(raw)


def test_channels_are_in_the_order_red_green_blue_yellow(tmp_path):
    write_sample(tmp_path, "train", "a", seed=5, size=6)
    image_HWK = kaggle.read_image(tmp_path, "train", "a")
    assert np.array_equal(image_HWK, np.random.default_rng(5).integers(0, 256, (6, 6, 4), dtype=np.uint8))


def test_a_tiff_replaces_a_missing_png(tmp_path):
    write_sample(tmp_path, "train", "a", seed=5, size=6)
    whole_HWK = kaggle.read_image(tmp_path, "train", "a")
    png = kaggle.image_path(tmp_path, "train", "a", "blue")
    assert png == tmp_path / "train" / "a_blue.png"
    cv2.imwrite(str(png.with_suffix(".tif")), whole_HWK[..., 2])
    png.unlink()
    assert kaggle.image_path(tmp_path, "train", "a", "blue") == png.with_suffix(".tif")
    assert np.array_equal(kaggle.read_image(tmp_path, "train", "a"), whole_HWK)


def test_every_bad_channel_of_a_sample_is_listed(raw):
    (raw / "train" / "a03_red.png").unlink()
    cv2.imwrite(str(raw / "train" / "a03_blue.png"), np.zeros((10, 20), np.uint8))
    (raw / "train" / "a03_yellow.png").write_bytes(b"")
    with pytest.raises(kaggle.BadImageError) as error:
        kaggle.read_image(raw, "train", "a03")
    assert error.value.args[0] == [
        BadImage("train", "a03", "a03_red.png", "is missing"),
        BadImage("train", "a03", "a03_blue.png", "is 20x10, expected the sample's 20x20"),
        BadImage("train", "a03", "a03_yellow.png", "is empty"),
    ]


def test_samples_are_those_with_any_channel(tmp_path, capsys):
    for name in (
        "b_green.png",
        "a_1_Red.TIF",
        "c_yellow.JPEG",
        "d_green.txt",
        "a_1_blue_red.png",
        "._e_red.png",
    ):
        (tmp_path / name).touch()
    assert kaggle.list_samples(tmp_path) == ["a_1", "b", "c"]
    assert capsys.readouterr().err == ""
    for name in ("a_1_gren.png", "f-green.png", "g_blue_red_green.jpg"):
        (tmp_path / name).touch()
    assert kaggle.list_samples(tmp_path) == ["a_1", "b", "c"]
    warning = capsys.readouterr().err
    assert all(word in warning for word in (str(tmp_path), "3 images", "'a_1_gren.png'", "{id}_red"))


def test_a_folder_without_samples_is_explained(tmp_path):
    with pytest.raises(UserError, match=r"nowhere cannot be listed: No such file"):
        kaggle.list_samples(tmp_path / "nowhere")
    (tmp_path / "a-green.png").touch()
    with pytest.raises(UserError) as error:
        kaggle.list_samples(tmp_path)
    for word in (str(tmp_path), "{id}_green.png", "8 bits", "1 file, ", "'a-green.png'"):
        assert word in str(error.value)


@pytest.mark.parametrize("name", [b"a\n1_green.png", b"a\x1b[31m_red.png", b"\xff\xfe_red.png"])
def test_a_name_that_cannot_be_displayed_is_escaped(tmp_path, name):
    (tmp_path / os.fsdecode(name)).touch()
    with pytest.raises(UserError, match="cannot be displayed: rename") as error:
        kaggle.list_samples(tmp_path)
    message = str(error.value)
    assert message.isprintable() and message.encode() and str(tmp_path) in message


def test_images_in_any_spelling_are_read(raw):
    expected_HWK = kaggle.read_image(raw, "train", "a03")
    (raw / "train" / "a03_red.png").rename(raw / "train" / "a03_RED.PNG")
    (raw / "train" / "a03_green.png").rename(raw / "train" / "a03_Green.png")
    assert np.array_equal(kaggle.read_image(raw, "train", "a03"), expected_HWK)


def test_images_in_another_place_are_located(raw):
    ids, _ = kaggle.read_labels(raw)
    kaggle.require_images(raw, "train", ids)
    kaggle.require_images(raw, "train", ["nowhere", *ids])
    train = raw / "train"
    with pytest.raises(UserError) as error:
        kaggle.require_images(raw, "train", ["x", "y"])
    for word in (f"{train} contains no image of the 2 samples", "x_red.png", "80 files", "a00_blue.png"):
        assert word in str(error.value)
    train.rename(raw / "deep")
    train.mkdir()
    (raw / "deep").rename(train / "train")
    with pytest.raises(UserError, match=rf"no image of the 20 samples .*; {train}/train does: move them"):
        kaggle.require_images(raw, "train", ids)
    shutil.rmtree(train)
    (raw / "test.zip").touch()
    (raw / "train.zip").touch()
    with pytest.raises(UserError, match=rf"it does not exist: unpack {raw}/train\.zip"):
        kaggle.require_images(raw, "train", ids)


def test_pages_are_projected_on_request(raw):
    path = raw / "train" / "a03_red.png"
    plane_HW = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    cv2.imwritemulti(str(path.with_suffix(".tif")), [plane_HW, plane_HW.T.copy()])
    path.unlink()
    with pytest.raises(kaggle.BadImageError) as error:
        kaggle.read_image(raw, "train", "a03")
    assert "2 pages" in error.value.args[0][0].reason
    image_HWK = kaggle.read_image(raw, "train", "a03", "max")
    assert np.array_equal(image_HWK[..., 0], np.maximum(plane_HW, plane_HW.T))


def test_bad_images_stop_the_stage_unless_tolerated(tmp_path, capsys):
    bad = [
        BadImage("train", "a", "a_red.png", "is empty"),
        BadImage("train", "a", "a_blue.png", "is empty"),
        BadImage("test", "t", "t_red.png", "is missing"),
    ]
    listed, samples = tmp_path / "bad_images.csv", {"train": ["a", "b"], "test": ["t", "u"]}
    with pytest.raises(UserError) as error:
        kaggle.report_bad_images(bad, listed, 1, samples)
    message = str(error.value)
    for word in ("2 samples", "train/a_red.png", "is empty", "3 files", str(listed), "data.max_bad_images=2"):
        assert word in message
    assert listed.read_text().splitlines() == [
        "subset,id,file,reason",
        "train,a,a_red.png,is empty",
        "train,a,a_blue.png,is empty",
        "test,t,t_red.png,is missing",
    ]
    kaggle.report_bad_images(bad, listed, 2, samples)
    warning = capsys.readouterr().err
    assert "without 2 samples" in warning and "train/a_red.png" in warning and str(listed) in warning
    with pytest.raises(UserError, match=r"1 sample has .* it is listed in"):
        kaggle.report_bad_images(bad[2:], listed, 0, samples)
    with pytest.raises(UserError, match="no sample of test can be used") as error:
        kaggle.report_bad_images(bad, listed, 2, {"train": ["a", "b"], "test": ["t"]})
    assert "max_bad_images" not in str(error.value)
    kaggle.report_bad_images([], listed, 0, samples)
    assert not listed.exists()


@needs_real
def test_real_images_are_read():
    ids, targets = kaggle.read_labels(REAL / "kaggle_mini")
    assert (len(ids), targets[0]) == (36, (2, 25))
    image_HWK = kaggle.read_image(REAL / "kaggle_mini", "train", ids[0])
    assert image_HWK.shape == (512, 512, 4) and image_HWK.dtype == np.uint8 and image_HWK.std() > 1
