"""Text tables are read as text, whatever program wrote them, or rejected with file, line and remedy."""

import os

import numpy as np
import pytest

from lib import tables
from lib.errors import UserError

EXPECTED = "expected the columns Id,Target"
TEXT = "Id,Target\nNA,1\n001,\n"
UTF16 = "utf-16-le"


def read(folder, content, header=("Id", "Target")):
    path = folder / "table.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return tables.read_table(path, EXPECTED, header)


@pytest.mark.parametrize(
    "content",
    [
        TEXT.encode(),
        TEXT.encode("utf-8-sig"),
        TEXT.encode("utf-16"),  # PowerShell's >, and "Unicode text" of spreadsheets
        b"\xfe\xff" + TEXT.encode("utf-16-be"),
        TEXT.encode("utf-16-le"),
        TEXT.encode("utf-16-be"),
        TEXT.replace("\n", "\r\n").encode(),
        TEXT.replace("\n", "\r").encode(),
        b"Id,Target\r\nNA,1\r001,\n",
        b"Id,Target\nNA,1\n001,",
        b' Id ,"Target"\n"NA","1"\n001,""\n',
        b",Id,Target\n0,NA,1\n1,001,\n",  # an index without a name, as pandas writes it
    ],
)
def test_encodings_line_endings_and_quotes_do_not_matter(tmp_path, content):
    table = read(tmp_path, content)
    assert table.to_dict("list") == {"Id": ["NA", "001"], "Target": ["1", ""]}
    assert list(table.index) == [2, 3]


def test_every_cell_is_the_text_of_the_file(tmp_path):
    ids = ["NA", "null", "nan", "None", "001", "1e5", "inf", "True", "-0", " a ", "é", "细胞", "", "#N/A"]
    table = read(tmp_path, "Id,Target\n" + "".join(f"{sample},1\n" for sample in ids))
    assert list(table["Id"]) == ids and {type(value) for value in table["Id"]} == {str}


def test_rows_have_the_number_of_the_line_they_begin_in(tmp_path):
    table = read(tmp_path, 'Id,Target\n\na,1\r\n"b\n\nb",2\r\r\nc,3\n\n\n')
    assert list(table.index) == [3, 4, 8] and table.loc[4, "Id"] == "b\n\nb"


def test_a_table_may_have_no_rows_and_other_columns(tmp_path):
    table = read(tmp_path, "note,Target,Id\n")
    assert len(table) == 0 and list(table) == ["note", "Target", "Id"]
    assert list(read(tmp_path, "a\n1\n", header=None)["a"]) == ["1"]


def zipped(folder):
    np.savez(folder / "a.npz", a=[1])
    return (folder / "a.npz").read_bytes()


@pytest.mark.parametrize(
    ("content", "pieces"),
    [
        (b"", ["is empty"]),
        (b"\xef\xbb\xbf", ["is empty"]),
        (b"\xff\xfe", ["is empty"]),
        (b"\r\n\n\n", ["is empty"]),
        ("Id,Target\nMüller,1\n".encode("latin-1"), ["line 2", "0xfc", "save the file as UTF-8", "Latin-1"]),
        (b"Id,Target\ra,1\rb\xff,1\r", ["line 3", "0xff"]),
        (b"\xef\xbb\xbfId\xe9,Target\na,1\n", ["line 1", "0xe9"]),
        (b"\xef\xbb\xbfId,Target\n\xe9,1\n", ["line 2", "0xe9"]),
        (b"\xef\xbb\xbfId,Target\na,1\nM\xc3\xa9\xc3\xa9b\xff,2\n", ["line 3", "0xff"]),
        (b"Id,Target\na,\x00\n", ["line 2", "U+0000"]),
        (b"Id,Target\na,1\n\x1a", ["line 3", "U+001A"]),
        (b"Id,Target\na\x08,1\n", ["line 2", "U+0008"]),
        ("Id,Target\na\u2028,1\n".encode(), ["line 2", "U+2028"]),
        ("\ufeffId,Target\n".encode("utf-8-sig"), ["line 1", "U+FEFF"]),
        (TEXT.encode("utf-16")[:-1], ["not a text table"]),
        (b"Id,Target\n\xff\x00\xff", ["not a text table"]),
        (zipped, ["a zip archive", "not a text table"]),
        (b"\x1f\x8b\x08abc", ["gzip"]),
        (b"\x93NUMPY\x01\x00", ["an npy file"]),
        (b"Id,Target\na,1\nb,1,2\n", ["line 3", "3 fields", "first line has 2"]),
        (b"Id,Target\na\n", ["line 2", "1 fields"]),
        (b"Id,Target\na,1\n  \n", ["line 3", "1 fields"]),
        (b'Id,Target\na,1\n"b,2\nc,3\n', ["line 3", "a quote is not closed"]),
        (b'Id,Target\n"a"b,1\n', ["line 2", "expected after '\"'"]),
        (b"Id,Target\na," + b"1" * 200_000, ["line 2", "131072"]),
        (b"Id,Label\na,1\n", ["'Id,Label'"]),
        (b"id,target\na,1\n", ["'id,target'"]),
        (b"Id,Target,Target\na,1,2\n", ["line 1", "'Target' occurs twice"]),
        (b"Id;Target\na;1\n", ["line 1", "separated by semicolons, not commas"]),
        (b"Id\tTarget\na\t1\n", ["line 1", "separated by tabs"]),
        (b"<" * 100_000, ["'<<<", "..."]),
    ],
)  # fmt: skip
def test_a_table_that_cannot_be_read_is_one_line(tmp_path, content, pieces):
    with pytest.raises(UserError) as error:
        read(tmp_path, content(tmp_path) if callable(content) else content)
    message = str(error.value)
    assert message.startswith(str(tmp_path / "table.csv")) and EXPECTED in message
    assert message.isprintable() and len(message) < len(str(tmp_path)) + 250
    assert all(piece in message for piece in pieces), message


def test_what_is_no_readable_file_is_one_line(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe")  # opening it would wait for a writer
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "secret").touch()

    def denied(path, mode):
        raise PermissionError(13, "Permission denied")

    for name, piece in (
        ("no", "is missing"), ("", "is a folder"), ("pipe", "not a regular file"),
        ("loop", "cannot be read"), ("x" * 300, "cannot be read"), ("secret", "Permission denied"),
    ):  # fmt: skip
        if name == "secret":  # which root could read
            monkeypatch.setattr(tables.Path, "open", denied)
        with pytest.raises(UserError) as error:
            tables.read_table(tmp_path / name, EXPECTED)
        assert all(word in str(error.value) for word in (str(tmp_path / name), piece, EXPECTED))


@pytest.mark.parametrize("encoding", ["utf-8", UTF16])
def test_truncated_and_changed_bytes_give_a_table_or_one_line(tmp_path, encoding):
    rng, whole = np.random.default_rng(0), ('Id,Target\n"a, b",1 2\r\nNA,3\n' * 3).encode(encoding)
    for _ in range(100):
        content = bytearray(whole[: rng.integers(len(whole) + 1)])
        for place in rng.integers(len(content), size=rng.integers(4)) if content else ():
            content[place] = rng.integers(256)
        try:
            table = read(tmp_path, bytes(content))
        except UserError as error:
            assert str(error).isprintable() and EXPECTED in str(error)
        else:
            assert {type(cell) for cell in table.to_numpy().ravel()} <= {str}


def test_a_table_of_classes_gives_line_number_class_and_text(tmp_path):
    path = tmp_path / "classes.csv"
    path.write_text("note,value,name\nx,0.5, Cytosol\ny,,3\n")
    rows = tables.read_class_table(path, ("name", "value"), class_column="name")
    assert [tuple(row) for row in rows] == [(2, 25, "0.5"), (3, 3, "")]
    for text, pieces in (
        ("name,share\n0,1\n", ("name,share", "name,value")),
        ("name,value\n0,1\n28,2\n", ("line 3", "'28'", "0-27")),
        ("name,value\n", ("no rows", "one row per class")),
        ("", ("is empty", "name,value")),
        ("name,value\n0,1\nNucleoplasm,2\n", ("line 3", "Nucleoplasm", "line 2", "once")),
    ):
        path.write_text(text)
        with pytest.raises(UserError) as error:
            tables.read_class_table(path, ("name", "value"), class_column="name")
        assert all(piece in str(error.value) for piece in ("classes.csv", *pieces))


def test_ids_are_listed_once(tmp_path):
    table = read(tmp_path, "Id,Target\nNA,1\n\n001,2\n1,2\n")
    assert tables.lines_by_id(tmp_path, table["Id"]) == {"NA": 2, "001": 4, "1": 5}
    table = read(tmp_path, "Id,Target\nNA,1\nb,1\n\nNA,2\n")
    with pytest.raises(UserError, match=r"table.csv, line 5: Id 'NA' is already in line 2"):
        tables.lines_by_id(tmp_path / "table.csv", table["Id"])


def test_targets_are_class_numbers_or_an_error_with_the_line(tmp_path):
    table = read(tmp_path, "Id,Target\na,16 0\nb,\n")
    assert tables.read_targets(tmp_path, table["Target"], allow_empty=True) == [(0, 16), ()]
    with pytest.raises(UserError, match=r"t.csv, line 3: Target has no label; expected .*; correct it"):
        tables.read_targets(tmp_path / "t.csv", table["Target"], "correct it")
    table = read(tmp_path, 'Id,Target\na,"0,16"\n')
    with pytest.raises(UserError, match=r"line 2: Target label '0,16' is not a class number; .* spaces"):
        tables.read_targets(tmp_path, table["Target"], allow_empty=True)
