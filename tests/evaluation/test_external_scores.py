import os

import numpy as np
import pandas as pd
import pytest

from lib.data.sample_index import SampleIndex
from lib.errors import UserError
from lib.evaluation import external_scores, predictions

INDEX = SampleIndex([f"a{row}" for row in range(6)], [(0,)] * 6, [f"t{row}" for row in range(4)])
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


def test_a_csv_file_becomes_a_predictor_by_id(tmp_path):
    scores_NC, order = scores(), np.random.default_rng(1).permutation(len(IDS))
    path = write_csv(tmp_path / "all.csv", scores_NC[order], [IDS[row] for row in order])
    counts = external_scores.add(tmp_path, "mine", [path], INDEX, SUBSETS)
    assert counts == {"train": 3, "validation": 2, "holdout": 1, "test": 4}
    assert loaded(tmp_path, "validation").ids == ["a3", "a4"]
    assert loaded(tmp_path, "validation").probabilities_NC == pytest.approx(scores_NC[3:5])
    assert loaded(tmp_path, "test").probabilities_NC == pytest.approx(scores_NC[6:])


def test_some_classes_by_name_or_number_without_training_samples(tmp_path):
    scores_NC = scores(columns=2)[3:]
    path = write_csv(tmp_path / "s.csv", scores(columns=2), columns=["Cytosol", "0"], name="image_id")
    assert "train" in external_scores.add(tmp_path, "mine", [path], INDEX, SUBSETS)
    write_csv(path, scores_NC, IDS[3:], ["Cytosol", "0"], name="image_id")  # again, without them
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


def test_ids_and_numbers_of_any_program_are_read(tmp_path):
    index = SampleIndex(["NA", "001"], [(0,)] * 2, ["1e5", "True"])
    ids = [*index.train_ids, *index.test_ids]
    text = ",ID,7\n" + "".join(f"{row},{sample},{row / 10}\r\n" for row, sample in enumerate(ids))
    (tmp_path / "s.csv").write_bytes(text.encode("utf-16"))
    table = external_scores.read(tmp_path / "s.csv", index)
    assert list(table.index) == ids and table[7].tolist() == pytest.approx([0, 0.1, 0.2, 0.3])
    np.save(tmp_path / "n.NPY", np.zeros((4, 28)))
    (tmp_path / "n.NPY.npy").rename(tmp_path / "n.NPY")
    (tmp_path / "n.txt").write_bytes("NA\r001\r\r1e5\rTrue".encode("utf-8-sig"))
    assert list(external_scores.read(tmp_path / "n.NPY", index).index) == ids
    os.mkfifo(tmp_path / "pipe.npy")
    with pytest.raises(UserError, match=r"pipe.npy is not a regular file"):
        external_scores.read(tmp_path / "pipe.npy", index)


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


def twice_beside(folder):
    np.save(folder / "s.npy", np.zeros((3, 28)))
    (folder / "s.txt").write_text("a\nb\na\n")
    return [folder / "s.npy"]


def promising_more(folder):
    """An array whose header declares terabytes."""
    np.save(folder / "s.npy", np.zeros((10, 28)))
    content = (folder / "s.npy").read_bytes()
    (folder / "s.npy").write_bytes(content.replace(b"(10, 28), }         ", b"(99999999999, 28), }"))
    return [folder / "s.npy"]


def not_a_table(content, suffix=".csv"):
    def make(folder):
        (folder / "s").with_suffix(suffix).write_bytes(content)
        return [(folder / "s").with_suffix(suffix)]

    return make


def array_of(values):
    def make(folder):
        np.save(folder / "s.npy", values)
        return [folder / "s.npy"]

    return make


def other_classes(folder):
    half = len(IDS) // 2
    return [
        write_csv(folder / "s.csv", scores()[:half], IDS[:half]),
        write_csv(folder / "t.csv", scores(columns=2)[half:], IDS[half:]),
    ]


def no_array(folder):
    (folder / "s.npy").write_bytes(b"no")
    return [folder / "s.npy"]


def csv(*arguments, **options):
    return lambda folder: [write_csv(folder / "s.csv", *arguments, **options)]


@pytest.mark.parametrize(
    ("make", "pieces"),
    [
        (lambda folder: [folder / "s.csv"], ("missing", "expected a column of ids")),
        (csv(scores(), name="sample"), ("column of ids", "id, Id")),
        (csv(scores(columns=1), columns=["28"]), ("'28'", "0-27")),
        (csv(scores(columns=2), columns=["0", "Nucleoplasm"]), ("one column for each class",)),
        (csv(scores()[:9], IDS[:9]), ("1 of the 4 ids of test", "t3")),
        (csv(scores(), [*IDS[:-1], "a0"]), ("line 11", "'a0'", "line 2", "once")),
        (lambda folder: 2 * csv(scores())(folder), ("'a0' twice", "once")),
        (csv(np.full((10, 28), "x")), ("line 2", "column 0", "'x'", "decimal point")),
        (csv(np.full((10, 28), "")), ("line 2", "column 0", "''", "not a number")),
        (csv(np.full((10, 28), "0,5")), ("line 2", "'0,5'", "decimal point")),
        (csv(np.full((10, 28), "nan")), ("id 'a0'", "nan", "[0, 1]")),
        (csv(np.full((10, 28), "1e999")), ("id 'a0'", "inf", "[0, 1]")),
        (csv(np.full((10, 28), "1e99")), ("id 'a0'", "inf", "[0, 1]")),
        (csv(np.full((10, 28), "-inf")), ("id 'a0'", "-inf", "[0, 1]")),
        (not_a_table(b""), ("is empty", "column of ids")),
        (not_a_table(b"Id;0\na;0,1\n"), ("semicolons",)),
        (not_a_table(b"Id,0\na,0.1\nb,0.1,0.2\n"), ("line 3", "3 fields")),
        (not_a_table(b"Id,Id,0\na,a,0.1\n"), ("line 1", "'Id' occurs twice")),
        (not_a_table(b"PK\x03\x04..."), ("zip archive",)),
        (not_a_table(b"PK\x03\x04...", ".npy"), ("not an npy file",)),
        (array_of(np.array([[None]])), ("not an npy file",)),
        (array_of(np.full((10, 28), "x")), ("not an npy file",)),
        (array_of(np.zeros((10, 28), complex)), ("not an npy file",)),
        (array_of(np.full((6, 28), 1e99)), ("id 'a0'", "inf")),
        (promising_more, ("not an npy file",)),
        (twice_beside, ("s.txt, line 3", "'a'", "line 1")),
        (bad_value, ("id 'a4'", "class 7", "1.5", "[0, 1]")),
        (other_classes, ("t.csv", "same classes")),
        (bad_shape, ("(3, 27)", "(samples, 28)")),
        (bad_rows, ("5 rows", "6 of train.csv", "4 of sample_submission.csv", "s.txt")),
        (bad_ids, ("5 rows", "s.txt", "2 ids")),
        (no_array, ("not an npy file",)),
    ],
)
def test_invalid_files_are_one_line_errors(tmp_path, make, pieces):
    with pytest.raises(UserError) as error:
        external_scores.add(tmp_path, "mine", make(tmp_path), INDEX, SUBSETS)
    assert "\n" not in str(error.value)
    assert all(piece in str(error.value) for piece in (str(tmp_path / "s."), *pieces))
    assert not (tmp_path / "mine").exists()


def test_only_external_predictors_are_overwritten(tmp_path):
    path = write_csv(tmp_path / "s.csv", scores())
    predictions.Predictor("network", "baseline").write(tmp_path / "baseline")
    with pytest.raises(UserError, match=r"--add baseline: .*choose another name"):
        external_scores.add(tmp_path, "baseline", [path], INDEX, SUBSETS)
    with pytest.raises(UserError, match=r"--add comparison: stage 04 uses this name.*choose another name"):
        external_scores.add(tmp_path, "comparison", [path], INDEX, SUBSETS)
    with pytest.raises(UserError, match=r"--add '../x' cannot be a name: expected .* letters"):
        external_scores.add(tmp_path, "../x", [path], INDEX, SUBSETS)
    with pytest.raises(UserError, match=r"--add mine: expected .* files of scores"):
        external_scores.add(tmp_path, "mine", [], INDEX, SUBSETS)
    external_scores.add(tmp_path, "mine", [path], INDEX, SUBSETS)
    write_csv(tmp_path / "s.csv", scores(seed=1))
    external_scores.add(tmp_path, "mine", [path], INDEX, SUBSETS)
    assert loaded(tmp_path, "test").probabilities_NC == pytest.approx(scores(seed=1)[6:])
    about = predictions.Predictor.read(tmp_path / "mine")
    assert (about.kind, about.files) == ("external", [str(path)])
