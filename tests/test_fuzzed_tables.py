"""Readers of users' tables give results or one-line errors for files changed at random.

``HPA_FUZZ_CASES=2000`` sets the number of changed files for each reader; by default a few.
"""

import os

import numpy as np
import pytest

from lib import location_groups
from lib.data import kaggle
from lib.data.sample_index import SampleIndex
from lib.errors import UserError
from lib.evaluation import external_scores, submission, thresholds

CASES = int(os.environ.get("HPA_FUZZ_CASES", 15))
INDEX = SampleIndex(["a", "NA"], [(0,)] * 2, ["t1", "001", "null"])
DECISION_NC = np.zeros((3, 28), bool)
SUBMISSION = 'Id,Predicted\r\nt1,0 25\n001,"3"\nnull,27\n'
# pieces that are exchanged for others, beside changed bytes
PIECES = (
    b",", b";", b"\t", b"\n", b"\r", b"\r\n", b'"', b'""', b" ", b"\0", b"\xff", b"\xe4", b"\xef\xbb\xbf",
    b"\xff\xfe", b"0", b"-1", b"28", b"1.0", b"1e5", b"1e999", b"nan", b"inf", b"NA", b"Id", b"=1+1",
    b"9" * 5000, b"x" * 140_000, "é".encode(), "\u2028".encode(), b"a", b"t1", b"0 0", b"", b"\x1a",
    b"../..", b"0_1",
)  # fmt: skip


def changed(content: bytes, rng: np.random.Generator) -> bytes:
    """Return a file's content with some pieces or bytes exchanged, cut off, repeated or encoded otherwise."""
    for _ in range(rng.integers(1, 4)):
        start, end = sorted(rng.integers(len(content) + 1, size=2))
        match rng.integers(6):
            case 0 | 1:
                length = rng.integers(3)
                content = content[:start] + PIECES[rng.integers(len(PIECES))] + content[start + length :]
            case 2:
                content = content[:start]
            case 3:
                content = content[:start] + content[start:end] * 2 + content[end:]
            case 4:
                content = content[:start] + rng.bytes(2) + content[start + 2 :]
            case 5:
                encoding = ("utf-16", "utf-16-le", "utf-16-be", "latin-1")[rng.integers(4)]
                content = content.decode("utf-8", "replace").encode(encoding, "replace")
    return content


def npy(folder):
    np.save(folder / "scores.npy", np.full((3, 28), 0.5))
    return (folder / "scores.npy").read_bytes()


READERS = {
    "train.csv": (b"Id,Target\na,16 0\n\nNA,25\n", lambda path: kaggle.read_tables(path.parent)),
    "sample_submission.csv": (
        b"Id,Predicted\nt1,0\n001,0\nnull,0\n",
        lambda path: kaggle.read_tables(path.parent),
    ),
    "submission.csv": (SUBMISSION.encode(), lambda path: submission.check(path, INDEX.test_ids)),
    "other.csv": (SUBMISSION.encode(), lambda path: submission.read_other(path, INDEX.test_ids)),
    "solution.csv": (
        b"Id,Target,Usage\nt1,1,Public\n001,0,Private\nnull,2,Public\n",
        lambda path: submission.score(INDEX.test_ids, DECISION_NC, path),
    ),
    "scores.csv": (
        b"Id,0,Cytosol\na,0.5,1e-3\nNA,1,0\n",
        lambda path: external_scores.read(path, INDEX),
    ),
    "scores.npy": (npy, lambda path: external_scores.read(path, INDEX)),
    "groups.csv": (
        ("group,label\n" + "".join(f"{'AB'[label % 2]},{label}\n" for label in range(28))).encode(),
        lambda path: location_groups.read(str(path)),
    ),
    "frequencies.csv": (
        b"class,frequency\nCytosol,0.25\n3,1e-2\n",
        lambda path: thresholds.read_frequencies(str(path), np.full(28, 0.1)),
    ),
}


@pytest.mark.parametrize("name", READERS)
def test_a_changed_file_gives_a_result_or_one_line(tmp_path, name):
    (tmp_path / "train.csv").write_bytes(READERS["train.csv"][0])
    (tmp_path / "sample_submission.csv").write_bytes(READERS["sample_submission.csv"][0])
    whole, read = READERS[name]
    whole = whole(tmp_path) if callable(whole) else whole
    path, errors = tmp_path / name, 0
    path.write_bytes(whole)
    read(path)
    for seed in range(CASES):
        path.write_bytes(changed(whole, np.random.default_rng(seed)))
        try:
            read(path)
        except UserError as error:
            message = str(error)
            assert str(path) in message and message.isprintable() and len(message) < 600, (seed, message)
            errors += 1
    assert errors > CASES / 4
