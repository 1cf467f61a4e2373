"""The winner's published file gives the logits of his network, as torchvision's DenseNet computes them."""

import re

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import adaptive_avg_pool2d, adaptive_max_pool2d, interpolate, max_pool2d, relu
from torchvision.models import densenet121

from lib.errors import UserError
from lib.evaluation import predictions
from lib.labels import CLASSES
from lib.learning import models, weights_file, winner_2018
from lib.sections import Network
from tests.conftest import call, write_kaggle
from tests.learning.tiny import STATISTICS, describe, images, logits

SETTINGS = dict(architecture="densenet121", head="avgmax", normalisation="start")
MEAN, STD = (0.074598, 0.050630, 0.050891, 0.076287), (0.122813, 0.085745, 0.129882, 0.119411)


class Published(nn.Module):
    """The network as the published code describes it: modules of the backbone under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = densenet121(weights=None)
        parts = self.backbone.features
        parts.conv0 = nn.Conv2d(4, 64, 7, stride=2, padding=3, bias=False)
        self.conv1 = nn.Sequential(parts.conv0, parts.norm0, parts.relu0, parts.pool0)
        self.encoder2 = nn.Sequential(parts.denseblock1)
        self.encoder3 = nn.Sequential(parts.transition1, parts.denseblock2)
        self.encoder4 = nn.Sequential(parts.transition2, parts.denseblock3)
        self.encoder5 = nn.Sequential(parts.transition3, parts.denseblock4, parts.norm5)
        self.bn1, self.fc1 = nn.BatchNorm1d(2048), nn.Linear(2048, 1024)
        self.bn2, self.logit = nn.BatchNorm1d(1024), nn.Linear(1024, 28)

    def forward(self, pixels_BHWK: torch.Tensor, large: bool) -> torch.Tensor:
        """Return logits_BC of uint8 pixels, R G B Y."""
        x = (pixels_BHWK.permute(0, 3, 1, 2).float() / 255 - column(MEAN)) / column(STD)
        x = self.conv1(x)
        x = max_pool2d(x, 2) if large else x
        x = relu(self.encoder5(self.encoder4(self.encoder3(self.encoder2(x)))))
        x = torch.cat([adaptive_avg_pool2d(x, 1), adaptive_max_pool2d(x, 1)], dim=1).flatten(1)
        return self.logit(self.bn2(relu(self.fc1(self.bn1(x)))))


def column(values):
    return torch.tensor(values).view(1, 4, 1, 1)


@pytest.fixture(scope="module")
def published():
    """A network of random weights and statistics."""
    torch.manual_seed(0)
    model = Published().eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            module.weight.data.uniform_(0.5, 1.5)
    return model


@pytest.fixture(scope="module")
def file(published, tmp_path_factory):
    """Its file, in the layout of the published one: a training checkpoint with a score, 1,466 tensors."""
    state = published.state_dict()
    assert len(state) == 1466
    path = tmp_path_factory.mktemp("winner") / "fold0_final.pth"
    content = {"state_dict": state, "epoch": 3, "score": np.float64(0.6)}
    torch.save(content, path, _use_new_zipfile_serialization=False)
    return path


def start_from(path, outputs=28, classes=None, **changes):
    settings = Network(**SETTINGS | {"start": str(path)} | changes)
    spec = describe(settings, outputs, size=96)
    names = list(CLASSES) if outputs == 28 else spec.outputs
    object.__setattr__(spec, "outputs", names)
    return models.build(spec, settings, **STATISTICS)


@pytest.mark.parametrize("large", [False, True])
def test_logits_are_those_of_the_published_network(published, file, large, capsys):
    model = start_from(file, stem_pool=large)
    assert model.starts_complete
    shown = images(3, 96)
    with torch.inference_mode():
        expected = published(torch.from_numpy(shown), large)
    assert torch.allclose(logits(model, shown), expected, atol=2e-4)
    assert expected.std() > 0.05
    assert "was trained on Kaggle's training images" in capsys.readouterr().err


def test_the_last_layer_is_only_for_all_classes_and_other_heads_take_the_backbone(published, file):
    fewer = start_from(file, outputs=3)
    assert not fewer.starts_complete and torch.equal(fewer.head.neck.fc1.weight, published.fc1.weight)
    other = start_from(file, head="linear", channels="RGB", normalisation="standard")
    conv0 = published.backbone.features.conv0.weight
    assert not other.starts_complete and torch.equal(other.backbone.features.conv0.weight, conv0[:, :3])
    assert other.mean.flatten().tolist() == STATISTICS["mean"][:3]


def test_source_license_size_hash_and_what_it_has_seen_are_recorded(file, tmp_path):
    model = start_from(file)
    recorded = model.spec.initial_weights
    assert recorded["source"] == str(file) and recorded["license"] == "mit"
    assert int(recorded["bytes"]) == file.stat().st_size and re.fullmatch("[0-9a-f]{64}", recorded["sha256"])
    assert "Kaggle's training images" in recorded["trained_on"]
    model.spec.write(tmp_path)
    models.save_weights(tmp_path / "weights.safetensors", model.state_dict())
    again = models.load(tmp_path)  # the normalisation lies with the weights
    assert again.mean.flatten().tolist() == pytest.approx([255 * value for value in MEAN], rel=1e-6)
    assert torch.equal(logits(again, images(2, 64)), logits(model, images(2, 64)))
    # what is trained from it has seen the same images
    second = start_from(tmp_path, head="linear")
    assert second.spec.initial_weights["trained_on"] == recorded["trained_on"]
    assert second.mean.flatten().tolist() == again.mean.flatten().tolist()


@pytest.mark.parametrize("prefix", ["", "module.", "state_dict.module."])
def test_names_may_begin_with_a_prefix(prefix):
    names = {"backbone.features.conv0.weight": 1, "conv1.0.weight": 2, "backbone.classifier.weight": 3,
             "bn1.weight": 4, "fc1.weight": 5, "bn2.weight": 6, "logit.weight": 7,
             "logit.bias": 8}  # fmt: skip
    found = winner_2018.translate({prefix + name: value for name, value in names.items()})
    statistics = {name: found.pop(name) for name in ("mean", "std")}
    assert found == {"backbone.features.conv0.weight": 1, "head.neck.bn1.weight": 4,
                     "head.neck.fc1.weight": 5, "head.neck.bn2.weight": 6, "head.last.weight": 7,
                     "head.last.bias": 8}  # fmt: skip
    assert statistics["std"].flatten().tolist() == pytest.approx([255 * value for value in STD])
    assert winner_2018.translate({"backbone.features.conv0.weight": 1, "logit.weight": 2}) is None


@pytest.mark.parametrize("change", ["truncated", "text", "another", "nan"])
def test_a_wrong_or_damaged_file_is_one_line(published, file, tmp_path, change):
    path = tmp_path / "file.pth"
    if change == "truncated":
        path.write_bytes(file.read_bytes()[:100_000])
    elif change == "text":
        path.write_text("<html>404: not found</html>")
    else:
        state = dict(published.state_dict())
        if change == "nan":
            state["fc1.weight"] = state["fc1.weight"] * torch.nan
        else:
            state = {name: value for name, value in state.items() if "denseblock4" not in name}
        torch.save({"state_dict": state}, path)
    with pytest.raises(UserError) as error:
        start_from(path)
    expected = {"truncated": "truncated", "text": "<html>", "another": "denseblock4", "nan": "fc1"}[change]
    assert str(path) in str(error.value) and expected in str(error.value) and "\n" not in str(error.value)


def test_numbers_of_numpy_in_a_checkpoint_are_left_out(tmp_path):
    torch.save({"state": {"a": torch.ones(2)}, "best": np.float32(0.5)}, tmp_path / "w.pt")
    assert list(weights_file.read(tmp_path / "w.pt")) == ["state.a"]


@pytest.mark.slow
@pytest.mark.usefixtures("no_figures")
def test_the_preset_predicts_every_subset_without_training(published, file, tmp_path):
    raw = write_kaggle(tmp_path / "raw", train=24)
    options = ["--preset", "winner_2018", "--data", raw, "--work", tmp_path, "--set", f"network.start={file}",
               "data.sizes=32", "training.array_size=32", "all:training.size=64", "data.shard_rows=32",
               "training.precision=float32"]  # fmt: skip
    for script in ("00_prepare", "02_train_cnn", "04_threshold", "05_submit"):
        call(script, *options)
    run = tmp_path / "outputs" / "winner_2018"
    shown = np.load(next((tmp_path / "data" / "cache").glob("*/test_32/00000.npy")))
    with torch.inference_mode():
        larger = interpolate(torch.from_numpy(shown).permute(0, 3, 1, 2).float(), (64, 64), mode="bilinear")
        expected_NC = published(larger.permute(0, 2, 3, 1), False).sigmoid().numpy()
    for name in ("winner_768", "winner_512"):
        table = predictions.load(run / "predictions" / name / "test.npz")
        assert table.ids == [f"t{row:02d}" for row in range(5)]
        assert np.allclose(table.probabilities_NC, expected_NC, atol=1e-4)
        assert not (run / "networks" / name / "history.csv").exists()
        for subset in ("train", "validation"):
            assert (run / "predictions" / name / f"{subset}.npz").exists()
    assert len((run / "submission.csv").read_text().splitlines()) == 6
    assert "winner_768" in (run / "report.html").read_text()
    assert not (run / "figures" / "schedules.png").exists()
