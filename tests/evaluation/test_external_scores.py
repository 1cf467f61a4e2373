import numpy as np
import pandas as pd
import pytest

from lib.data.sample_index import Index
from lib.errors import UserError
from lib.evaluation import external_scores, predictions

INDEX = Index([f"a{row}" for row in range(6)], [(0,)] * 6, [f"t{row}" for row in range(4)])
SUBSETS = {"train": ["a0", "a1", "a2"], "validation": ["a3", "a4"], "holdout": ["a5"], "test": INDEX.test_ids}
IDS = [*INDEX.train_ids, *INDEX.test_ids]


def scores(seed=0, columns=28):
    return np.random.default_rng(seed).uniform(size=(len(IDS), columns)).astype(np.float32)


def write_csv(path, scores_NC, ids=IDS, columns=None, name="Id"):
    table = pd.DataFrame(scores_NC, columns=columns or range(scores_NC.shape[1]))
    table.insert(0, name, ids)
    table.to_csv(path, index=False)
    return path


def loaded(folder, subset):
    return predictions.load(folder / "mine" / f"{subset}.npz")


def test_a_csv_becomes_a_predictor_by_id(tmp_path):
    scores_NC, order = scores(), np.random.default_rng(1).permutation(len(IDS))
    path = write_csv(tmp_path / "all.csv", scores_NC[order], [IDS[row] for row in order])
    counts = external_scores.add(tmp_path, "mine", [path], INDEX, SUBSETS)
    assert counts == {"train": 3, "validation": 2, "holdout": 1, "test": 4}
    assert loaded(tmp_path, "validation").ids == ["a3", "a4"]
    assert loaded(tmp_path, "validation").probabilities_NC == pytest.approx(scores_NC[3:5])
    assert loaded(tmp_path, "test").probabilities_NC == pytest.approx(scores_NC[6:])


def test_classes_by_name_and_not_all_of_them_and_no_training_samples(tmp_path):
    scores_NC = scores(columns=2)[3:]
    path = write_csv(tmp_path / "s.csv", scores_NC, IDS[3:], ["Cytosol", "0"], name="image_id")
    assert "train" not in external_scores.add(tmp_path, "mine", [path], INDEX, SUBSETS)
    table = loaded(tmp_path, "holdout")
    assert np.flatnonzero(table.known_C).tolist() == [0, 25]
    assert table.probabilities_NC[0, [25, 0]] == pytest.approx(scores_NC[2])
    assert not (tmp_path / "mine" / "train.npz").exists()


def test_npy_files_with_and_without_ids_beside_them(tmp_path):
    scores_NC = scores()
    np.save(tmp_path / "labelled.npy", scores_NC[:6])
    np.save(tmp_path / "rest.npy", scores_NC[6:][::-1].astype(np.float16))
    (tmp_path / "rest.txt").write_text("\n".join(IDS[6:][::-1]))
    external_scores.add(tmp_path, "mine", [tmp_path / "labelled.npy", tmp_path / "rest.npy"], INDEX, SUBSETS)
    assert loaded(tmp_path, "validation").probabilities_NC == pytest.approx(scores_NC[3:5])
    assert loaded(tmp_path, "test").probabilities_NC == pytest.approx(scores_NC[6:], abs=1e-3)
    (tmp_path / "rest.txt").unlink()
    (tmp_path / "rest.csv").write_text(
        "Id,Predicted\n" + "".join(f"{sample},0\n" for sample in IDS[6:][::-1])
    )
    external_scores.add(tmp_path, "mine", [tmp_path / "labelled.npy", tmp_path / "rest.npy"], INDEX, SUBSETS)
    assert loaded(tmp_path, "test").probabilities_NC == pytest.approx(scores_NC[6:], abs=1e-3)


def bad_value(folder):
    scores_NC = scores()
    scores_NC[4, 7] = 1.5
    return [write_csv(folder / "s.csv", scores_NC)]


def bad_shape(folder):
    np.save(folder / "s.npy", np.zeros((3, 27)))
    return [folder / "s.npy"]


def bad_rows(folder):
    np.save(folder / "s.npy", np.zeros((5, 28)))
    return [folder / "s.npy"]


def bad_ids(folder):
    np.save(folder / "s.npy", np.zeros((5, 28)))
    (folder / "s.txt").write_text("a\nb\n")
    return [folder / "s.npy"]


def no_array(folder):
    (folder / "s.npy").write_bytes(b"no")
    return [folder / "s.npy"]


def csv(*arguments, **options):
    return lambda folder: [write_csv(folder / "s.csv", *arguments, **options)]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: [folder / "s.csv"], "s.csv is missing: expected a CSV or npy file of scores"),
        (csv(scores(), name="sample"), "s.csv has no column of ids; expected one of id, Id"),
        (csv(scores(columns=1), columns=["28"]), "s.csv: column '28' is none of the 28 classes"),
        (csv(scores()[:9], IDS[:9]), "s.csv: no scores for 1 of the 4 ids of test, t3 for one"),
        (csv(scores(), [*IDS[:-1], "a0"]), "s.csv holds the id a0 twice"),
        (lambda folder: 2 * csv(scores())(folder), "s.csv hold the id a0 twice"),
        (csv(np.full((10, 28), "x")), "s.csv, class 0: expected numbers"),
        (bad_value, "s.csv, id a4, class 7: 1.5 is no probability in [0, 1]"),
        (bad_shape, "s.npy has shape (3, 27), expected (samples, 28)"),
        (bad_rows, "s.npy has 5 rows, neither the 6 of train.csv nor the 4 of sample_submission.csv"),
        (bad_ids, "s.npy has 5 rows, "),
        (no_array, "s.npy is no npy file of numbers"),
    ],
)
def test_bad_files_are_one_line(tmp_path, make, message):
    with pytest.raises(UserError) as refusal:
        external_scores.add(tmp_path, "mine", make(tmp_path), INDEX, SUBSETS)
    assert message in str(refusal.value) and "\n" not in str(refusal.value)
    assert not (tmp_path / "mine").exists()


def test_a_predictor_of_the_run_is_not_overwritten(tmp_path):
    path = write_csv(tmp_path / "s.csv", scores())
    (tmp_path / "baseline").mkdir()
    with pytest.raises(UserError, match="--add baseline: the run has a predictor of that name; give another"):
        external_scores.add(tmp_path, "baseline", [path], INDEX, SUBSETS)
    with pytest.raises(UserError, match=r"--add \.\./x: expected a name of letters"):
        external_scores.add(tmp_path, "../x", [path], INDEX, SUBSETS)
    for _ in range(2):  # its own it is
        external_scores.add(tmp_path, "mine", [path], INDEX, SUBSETS)
