"""The simulator: same bytes however it runs, patterns where biology puts them, labels as in the real set."""

import csv
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from lib.config import Simulation
from lib.errors import UserError
from lib.labels import CHANNELS, CLASSES, parse_target
from lib.simulation.antibodies import describe_antibody, label_sets, plan_samples
from lib.simulation.canvas import Canvas
from lib.simulation.cells import CELL_LINES
from lib.simulation.dataset import class_gallery, draw_sample, ensure_dataset, write_dataset
from lib.simulation.field import Field, make_field
from lib.simulation.proteins import RULES

SETTINGS = dict(train_samples=20, test_samples=8, size=64, seed=3)
MIDDLING = np.full(4, 0.5)  # style of an antibody


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("simulated")
    write_dataset(folder, workers=1, **SETTINGS)
    return folder


@pytest.fixture(scope="module")
def field() -> Field:
    return make_field("U-2 OS", 512, 1.0, (7, 7), mitotic=2, pairs=2)


@pytest.fixture(scope="module")
def sheet() -> Field:
    return make_field("A-431", 512, 1.0, (7, 9))


def show(field: Field, name: str, style: np.ndarray = MIDDLING) -> np.ndarray:
    return RULES[CLASSES.index(name)](field, np.random.default_rng(1), style)


def mean(image_HW: np.ndarray, where_HW: np.ndarray) -> float:
    return float(image_HW[where_HW].mean())


# ---- files -------------------------------------------------------------------------------------------


def test_kaggle_layout(dataset):
    train, submission = rows(dataset / "train.csv"), rows(dataset / "sample_submission.csv")
    solution = {row["Id"]: row for row in rows(dataset / "solution.csv")}
    assert (len(train), len(submission), len(solution)) == (20, 8, 28)
    assert list(train[0]) == ["Id", "Target"] and list(submission[0]) == ["Id", "Predicted"]
    assert {row["Predicted"] for row in submission} == {"0"}
    assert [row["Id"] for row in train] == sorted(row["Id"] for row in train)
    for row in train:
        assert parse_target(row["Target"]) and solution[row["Id"]]["Target"] == row["Target"]
        assert solution[row["Id"]]["Usage"] == "Train"
    assert {solution[row["Id"]]["Usage"] for row in submission} <= {"Public", "Private"}
    for split, table in (("train", train), ("test", submission)):
        expected = {f"{row['Id']}_{name}.png" for row in table for name in CHANNELS}
        assert {path.name for path in (dataset / split).iterdir()} == expected
    image = cv2.imread(str(dataset / "train" / f"{train[0]['Id']}_green.png"), cv2.IMREAD_UNCHANGED)
    assert image.shape == (64, 64) and image.dtype == np.uint8


def test_same_bytes_for_any_number_of_processes(dataset, tmp_path):
    write_dataset(tmp_path, workers=2, **SETTINGS)
    assert contents(tmp_path) == contents(dataset)


def test_same_bytes_after_a_kill(dataset, tmp_path):
    write_dataset(tmp_path, workers=1, **SETTINGS)
    images = sorted((tmp_path / "train").iterdir())
    for path in images[:7]:
        path.unlink()
    images[0].with_name(f".{images[0].name}.part").write_bytes(b"half a fi")
    (tmp_path / "train.csv").unlink()
    untouched = images[-1].stat().st_mtime_ns
    write_dataset(tmp_path, workers=1, **SETTINGS)
    assert contents(tmp_path) == contents(dataset)
    assert images[-1].stat().st_mtime_ns == untouched


def test_a_set_is_simulated_once_and_other_settings_are_refused(tmp_path):
    folder, settings = tmp_path / "set", Simulation("set", 4, 2, 32, 1.0, 3)
    ensure_dataset(folder, settings, workers=1, force=False)
    before = contents(folder)
    ensure_dataset(folder, settings, workers=1, force=False)
    assert contents(folder) == before
    other = replace(settings, size=48)
    with pytest.raises(
        UserError, match=r"made with simulation.size=32, not 48: --set simulation.name=NAME keeps"
    ):
        ensure_dataset(folder, other, workers=1, force=False)
    ensure_dataset(folder, other, workers=1, force=True)
    assert cv2.imread(str(next((folder / "train").iterdir())), cv2.IMREAD_UNCHANGED).shape == (48, 48)


@pytest.mark.filterwarnings("error")
def test_fields_without_a_whole_nucleus_are_drawn_too():
    """At high visibility few cells are in the field: some fields show no nucleus, some no cell's edge."""
    for sample in plan_samples(150, 0, 5):
        assert draw_sample(sample, 32, 5, 6.0).shape == (32, 32, 4)


def test_files_that_were_not_simulated_are_left_alone(raw):
    before = contents(raw)
    with pytest.raises(UserError, match=r"holds files that were not simulated here"):
        ensure_dataset(raw, Simulation("raw", 4, 2, 32), workers=1, force=True)
    assert {name: data for name, data in contents(raw).items() if name != ".lock"} == before


# ---- who is in the set -------------------------------------------------------------------------------


def test_imbalance_is_real_and_no_class_is_missing():
    samples = plan_samples(3000, 1000, 0)
    for split, floor in (("train", 5), ("test", 1)):
        count = Counter(label for s in samples if s.split == split for label in s.labels)
        assert min(count[label] for label in range(28)) >= floor
    sets, shares = label_sets()
    train = Counter(label for s in samples if s.split == "train" for label in s.labels)
    for label in (0, 25, 21, 2):
        real = sum(share for labels, share in zip(sets, shares, strict=True) if label in labels)
        assert train[label] / 3000 == pytest.approx(real, rel=0.25)
    assert train[0] > 50 * train[CLASSES.index("Rods & rings")]


def test_floor_holds_from_500_samples():
    samples = plan_samples(400, 100, 5)
    for split in ("train", "test"):
        assert {label for s in samples if s.split == split for label in s.labels} == set(range(28))
    assert len({s.id for s in samples}) == 500


def test_antibodies_span_train_and_test():
    samples = plan_samples(1500, 500, 1)
    by_antibody = defaultdict(list)
    for sample in samples:
        by_antibody[sample.antibody].append(sample)
    assert all(1 <= len(fields) <= 6 for fields in by_antibody.values())
    assert all(len({s.labels for s in fields}) == 1 for fields in by_antibody.values())
    shared = [a for a, fields in by_antibody.items() if len({s.split for s in fields}) == 2]
    assert 0.2 < len(shared) / len(by_antibody) < 0.7


def test_fields_of_one_scene_are_near_duplicates():
    samples = plan_samples(300, 100, 2)
    again = next(s for k, s in enumerate(samples) if k and s[3:] == samples[k - 1][3:])
    first = samples[again.number - 1]
    other = next(s for s in samples if s.antibody != again.antibody)
    blue = [cv2.blur(draw_sample(s, 128, 2)[..., 2], (9, 9)).ravel() for s in (first, again, other)]
    shifted = np.corrcoef(blue)
    assert shifted[0, 1] > 0.3 > abs(shifted[0, 2])
    assert not np.array_equal(blue[0], blue[1])


def test_an_antibody_has_one_look():
    one, same = (describe_antibody((0, 5), 4, 11) for _ in range(2))
    assert one.lines == same.lines and np.array_equal(one.styles, same.styles)
    assert set(one.lines) <= set(CELL_LINES)


# ---- the field ---------------------------------------------------------------------------------------


def test_size_changes_only_the_sampling():
    large, small = (make_field("HeLa", size, 1.0, (5, 5)) for size in (512, 128))
    for name in ("cell_HW", "nucleus_HW"):
        shrunk = cv2.resize(getattr(large, name), (128, 128), interpolation=cv2.INTER_AREA)
        assert np.abs(shrunk - getattr(small, name)).mean() < 0.03


def test_noise_has_unit_spread_at_any_grain():
    for size, grain in ((512, 1.5), (512, 4.0), (128, 4.0), (128, 20.0)):
        noise_HW = Canvas(size, 512).noise(np.random.default_rng(0), grain)
        assert abs(noise_HW.mean()) < 0.2
        assert noise_HW.std() == pytest.approx(0.95, abs=0.1)
    finer_HW = Canvas(128, 512).noise(np.random.default_rng(0), 1.5)  # averaged away by the pixels
    assert finer_HW.std() < 0.5


def test_stains_are_where_they_belong(field):
    nucleus_HW, outside_HW = field.nucleus_HW > 0.9, field.label_HW == 0
    cytoplasm_HW = (field.cell_HW > 0.9) & (field.nucleus_HW < 0.1)
    assert mean(field.blue_HW, nucleus_HW) > 10 * mean(field.blue_HW, cytoplasm_HW)
    assert mean(field.red_HW, cytoplasm_HW) > 2 * mean(field.red_HW, nucleus_HW)
    near_HW, far_HW = cytoplasm_HW & (field.depth_HW < 0.3), cytoplasm_HW & (field.depth_HW > 0.7)
    assert mean(field.yellow_HW, near_HW) > 1.5 * mean(field.yellow_HW, far_HW)
    assert mean(field.yellow_HW, outside_HW) < 0.01


# ---- the rules of the labels -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["Nucleoplasm", "Nucleoli", "Nucleoli fibrillar center", "Nuclear speckles", "Nuclear bodies"]
)
def test_nuclear_proteins_are_in_the_nucleus(field, name):
    green_HW = show(field, name)
    assert mean(green_HW, field.nucleus_HW > 0.9) > 10 * mean(green_HW, field.nucleus_HW < 0.01)


@pytest.mark.parametrize(
    "name",
    ["Endoplasmic reticulum", "Golgi apparatus", "Peroxisomes", "Endosomes", "Lysosomes", "Lipid droplets",
     "Mitochondria", "Cytosol", "Cytoplasmic bodies"],
)  # fmt: skip
def test_cytoplasmic_proteins_are_outside_the_nucleus(field, name):
    green_HW = show(field, name)
    brightest_HW = green_HW > np.quantile(green_HW, 0.98)
    assert (field.rim_HW[brightest_HW] > -1).mean() > 0.9
    assert mean(green_HW, field.cell_HW > 0.9) > 5 * mean(green_HW, field.label_HW == 0)


def test_nuclear_membrane_is_a_rim(field):
    green_HW = show(field, "Nuclear membrane")
    assert mean(green_HW, np.abs(field.rim_HW) < 1.5) > 2 * mean(green_HW, field.rim_HW < -5)


def test_nucleoli_are_the_dark_holes_of_the_dna_stain(field):
    holes_HW, rest_HW = field.nucleoli_HW > 0.9, (field.nucleus_HW > 0.9) & (field.nucleoli_HW < 0.01)
    assert mean(field.blue_HW, holes_HW) < 0.7 * mean(field.blue_HW, rest_HW)
    for name in ("Nucleoli", "Nucleoli fibrillar center"):
        assert mean(show(field, name), holes_HW) > 3 * mean(show(field, name), rest_HW)


def test_speckles_avoid_nucleoli_and_bodies_are_fewer(field):
    inner_HW = field.rim_HW < -4
    speckles_HW, bodies_HW = show(field, "Nuclear speckles"), show(field, "Nuclear bodies")
    assert mean(speckles_HW, field.nucleoli_HW > 0.9) < 0.3 * mean(speckles_HW, inner_HW)
    assert (bodies_HW[inner_HW] > 0.4).mean() < 0.5 * (speckles_HW[inner_HW] > 0.4).mean()


@pytest.mark.parametrize("name", ["Centrosome", "Microtubule organizing center", "Aggresome"])
def test_central_spots_are_beside_the_nucleus(field, name):
    green_HW = show(field, name)
    size = green_HW.shape[0]
    places = np.round(field.cells.centrosome_n2 - 0.5).astype(int)
    places = places[((places > 8) & (places < size - 9)).all(axis=1)]
    spots = [green_HW[y - 7 : y + 8, x - 7 : x + 8].max() for x, y in places]
    assert np.median(spots) > 3 * np.median(green_HW[field.label_HW > 0])
    assert (green_HW > 0.4).mean() < 0.03


def test_plasma_membrane_is_at_the_edges(field):
    green_HW = show(field, "Plasma membrane", np.array([0.5, 0.0, 0.5, 0.5]))
    assert mean(green_HW, (field.label_HW > 0) & (field.edge_HW < 1.5)) > 3 * mean(
        green_HW, field.edge_HW > 8
    )


def test_cell_junctions_are_only_between_cells(sheet):
    green_HW = show(sheet, "Cell junctions")
    ground_HW = cv2.dilate(np.uint8(sheet.label_HW == 0), np.ones((9, 9), np.uint8)) > 0
    edge_HW = (sheet.label_HW > 0) & (sheet.edge_HW < 1.5)
    assert mean(green_HW, edge_HW & ~ground_HW) > 3 * mean(green_HW, edge_HW & ground_HW)


def test_focal_adhesions_are_near_the_edge(field):
    dashes_HW = show(field, "Focal adhesion sites") > 0.5
    assert np.median(field.depth_HW[dashes_HW]) > 0.65


def test_microtubule_label_follows_the_red_stain(field):
    inside_HW = field.label_HW > 0
    red, tubules, actin = (
        image_HW[inside_HW]
        for image_HW in (field.red_HW, show(field, "Microtubules"), show(field, "Actin filaments"))
    )
    assert np.corrcoef(red, tubules)[0, 1] > 0.8 > 0.3 > np.corrcoef(red, actin)[0, 1]


def test_dividing_cells_show_spindle_and_bridge(field):
    spindle_HW, bridge_HW = show(field, "Mitotic spindle"), show(field, "Cytokinetic bridge")
    for cell, _, _ in field.dividing:
        x, y = np.round(field.cells.centre_n2[cell]).astype(int)
        assert spindle_HW[y - 12 : y + 13, x - 12 : x + 13].max() > 0.4
    for (x, y), (u, v) in field.between((0.5, 0.44)):
        spot_HW = bridge_HW[int(min(y, v)) - 3 : int(max(y, v)) + 4, int(min(x, u)) - 3 : int(max(x, u)) + 4]
        assert spot_HW.max() > 0.5
    assert (bridge_HW > 0.5).mean() < 0.005


def test_vesicles_differ_in_number_and_size(field):
    def spots(name: str) -> tuple[int, float]:
        count, _, stats, _ = cv2.connectedComponentsWithStats(np.uint8(show(field, name) > 0.35))
        return count - 1, float(stats[1:, cv2.CC_STAT_AREA].mean())

    peroxisomes, lysosomes, bodies = map(spots, ("Peroxisomes", "Lysosomes", "Cytoplasmic bodies"))
    assert peroxisomes[0] > 1.5 * lysosomes[0] and peroxisomes[0] > 4 * bodies[0]
    assert lysosomes[1] > 1.5 * peroxisomes[1]


@pytest.mark.parametrize("label", range(28))
def test_every_rule_gives_a_sane_image(sheet, label):
    for style in (np.zeros(4), np.ones(4)):
        green_HW = RULES[label](sheet, np.random.default_rng(0), style)
        assert green_HW.shape == (512, 512) and np.isfinite(green_HW).all()
        assert green_HW.min() > -0.3 and green_HW.mean() < 1


# ---- statistics --------------------------------------------------------------------------------------


def test_statistics_are_like_the_real_ones():
    """Medians over the competition's images: mean 0.03-0.05, non-zero 0.14 (blue) to 0.45."""
    images = [draw_sample(sample, 256, 8) for sample in plan_samples(60, 0, 8)]
    means = np.median([image.mean(axis=(0, 1)) for image in images], axis=0) / 255
    filled = np.median([(image > 0).mean(axis=(0, 1)) for image in images], axis=0)
    assert np.all((means > 0.012) & (means < 0.09))
    assert filled[2] < 0.3 and np.all((filled[[0, 1, 3]] > 0.2) & (filled[[0, 1, 3]] < 0.75))


def test_visibility_makes_patterns_stand_out():
    samples = plan_samples(12, 0, 9)
    plain, clear = (np.mean([draw_sample(s, 64, 9, v)[..., 1].std() for s in samples]) for v in (1.0, 4.0))
    assert clear > 1.2 * plain


def test_gallery_has_one_example_of_every_class():
    gallery = class_gallery(128, 0)
    assert [name for name, _ in gallery] == list(CLASSES)
    assert all(image.shape == (128, 128, 4) and image[..., 1].max() > 10 for _, image in gallery)
