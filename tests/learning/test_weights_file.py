"""Files of weights are read whatever their suffix; nothing in them runs; others are one line each."""

import argparse
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from lib.errors import UserError
from lib.learning import weights_file

WEIGHTS = {"a.weight": torch.arange(6.0).view(2, 3), "a.bias": torch.ones(2)}


class Code:
    """Creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def rejected(path):
    with pytest.raises(UserError) as error:
        weights_file.read(weights_file.find(path, "resnet34"))
    message = str(error.value)
    assert message.startswith(f"network.start={path}") and "\n" not in message and "\x1b" not in message
    return message


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt", "w"])
@pytest.mark.parametrize(
    "save",
    [
        lambda path: save_file(WEIGHTS, path),
        lambda path: torch.save(WEIGHTS, path),
        lambda path: torch.save(WEIGHTS, path, _use_new_zipfile_serialization=False),
    ],
)
def test_the_content_decides_not_the_suffix(tmp_path, name, save):
    save(tmp_path / name)
    found = weights_file.read(tmp_path / name)
    assert found.keys() == WEIGHTS.keys() and all(torch.equal(found[key], WEIGHTS[key]) for key in found)


def test_names_of_nested_checkpoints_are_joined(tmp_path):
    state = {"state_dict": WEIGHTS, "epoch": 3, "optimizer": {"state": {0: {"step": torch.tensor(1.0)}}}}
    torch.save(state | {"args": argparse.Namespace(lr=0.1)}, tmp_path / "last.ckpt")
    expected = {"state_dict.a.weight", "state_dict.a.bias", "optimizer.state.0.step"}
    assert weights_file.read(tmp_path / "last.ckpt").keys() == expected


def test_a_dict_that_contains_itself_ends(tmp_path):
    content = dict(WEIGHTS)
    content["again"] = content
    torch.save(content, tmp_path / "w.pt")
    assert WEIGHTS.keys() <= weights_file.read(tmp_path / "w.pt").keys()


@pytest.mark.parametrize("legacy", [False, True])
def test_code_is_not_executed(tmp_path, legacy):
    content = WEIGHTS | {"code": Code(tmp_path / "was_here")}
    if legacy:
        (tmp_path / "w.pt").write_bytes(pickle.dumps(content, protocol=2))
    else:
        torch.save(content, tmp_path / "w.pt")
    rejected(tmp_path / "w.pt")
    assert not (tmp_path / "was_here").exists()


def test_a_whole_network_names_the_way_to_save_its_weights(tmp_path):
    torch.save(torch.nn.Conv2d(3, 4, 3), tmp_path / "w.pt")
    message = rejected(tmp_path / "w.pt")
    assert "torch.nn.modules.conv.Conv2d" in message and "torch.save(model.state_dict(), FILE)" in message


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"no weights at all", "begins with b'no weights"),
        (b"\x08\x08\x12\x07pytorch\x1a\x06", "begins with"),  # ONNX
        (b"version https://git-lfs.github.com/spec/v1\n", "begins with b'version https"),
        (b"<!DOCTYPE html>", "begins with b'<!DOCTYPE"),
        (b"\x80\x04", "truncated, damaged"),
        (b"PK\x03\x04", "truncated, damaged"),
        (b"\xff" * 8 + b"{}", "truncated, damaged"),
    ],
)
@pytest.mark.parametrize("name", ["w.pt", "w.safetensors"])
def test_other_content_is_named(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    message = rejected(tmp_path / name)
    assert words in message and "expected safetensors, or a state dict" in message


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
def test_a_truncated_file_is_one_line_wherever_it_ends(tmp_path, kind):
    path = tmp_path / "w"
    weights = {"a": torch.zeros(500), "b": torch.zeros(500)}
    if kind == "safetensors":
        save_file(weights, path)
    else:
        torch.save(weights, path, _use_new_zipfile_serialization=kind == "zip")
    whole = path.read_bytes()
    for end in (1, 7, 8, 9, 30, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:end])
        rejected(path)


def test_other_archives_are_named(tmp_path):
    np.savez(tmp_path / "w.npz", a=np.zeros(3))
    assert "of another kind" in rejected(tmp_path / "w.npz")
    torch.save({"a": torch.zeros(1_000_000)}, tmp_path / "w.pt")
    source, goal = (
        zipfile.ZipFile(tmp_path / name, mode) for name, mode in (("w.pt", "r"), ("bomb.pt", "w"))
    )
    with source, goal:
        for entry in source.infolist():
            goal.writestr(entry.filename, source.read(entry), zipfile.ZIP_DEFLATED)
    assert "unpacks to 4.0 MB" in rejected(tmp_path / "bomb.pt")


def test_a_file_without_tensors_is_named(tmp_path):
    torch.save({"epoch": 1, "weights": "elsewhere"}, tmp_path / "w.pt")
    assert "holds no weights" in rejected(tmp_path / "w.pt")


def test_a_folder_stands_for_the_file_in_it(tmp_path):
    message = rejected(tmp_path)
    assert "is not a file of weights" in message and "a network's folder" in message
    (tmp_path / "fold_0").mkdir()
    assert f"for example {tmp_path / 'fold_0'}" in rejected(tmp_path)
    save_file(WEIGHTS, tmp_path / "weights.safetensors")
    assert weights_file.find(tmp_path, "resnet34") == tmp_path / "weights.safetensors"


def test_a_missing_or_unreadable_file_is_named(tmp_path, monkeypatch):
    assert "is missing: expected the weights of resnet34" in rejected(tmp_path / "none.pt")
    torch.save(WEIGHTS, tmp_path / "w.pt")

    def forbidden(*_arguments):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", forbidden)
    assert "Permission denied" in rejected(tmp_path / "w.pt")
