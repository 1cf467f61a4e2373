import subprocess
import sys

import pytest

from lib import files
from lib.errors import UserError


def make_step(folder, settings=None, inputs=None):
    return files.Step(
        "sorting",
        folder / "sorting.json",
        settings or {"a.b": 1},
        inputs or {"in.csv": "x"},
        [folder / "out"],
    )


def test_a_failed_write_leaves_what_was_there(tmp_path):
    path = tmp_path / "deep" / "file.txt"
    files.write_text(path, "old")
    with pytest.raises(RuntimeError), files.write_atomic(path) as part:
        part.write_text("new")
        raise RuntimeError
    assert path.read_text() == "old"
    assert [entry.name for entry in path.parent.iterdir()] == ["file.txt"]


def test_a_text_that_is_there_already_is_left_alone(tmp_path):
    path = tmp_path / "file.txt"
    files.write_text(path, "é\n")
    before = files.file_states(tmp_path)
    files.write_text(path, "é\n")
    assert files.file_states(tmp_path) == before and before[str(path)][1] == 3
    files.write_text(path, "e\n")
    (tmp_path / ".lock").touch()
    after = files.file_states(tmp_path)
    assert list(after) == [str(path)] and after != before
    assert files.file_states(tmp_path / "nowhere") == {}


def test_missing_input_names_its_maker(tmp_path):
    with pytest.raises(UserError, match=r"split.csv is missing: run `python 00_prepare.py` first"):
        files.require(tmp_path / "split.csv", "00_prepare.py")


def test_a_place_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"no permission to write there; name a folder .* with --work FOLDER"):
        files.write_text(tmp_path / "file" / "below", "text")


def test_a_step_is_done_once(tmp_path):
    step = make_step(tmp_path)
    assert not step.done()
    assert files.read_json(step.manifest)["finished"] is False
    assert not make_step(tmp_path).done(), "started is not finished"
    (tmp_path / "out").write_text("result")
    step.finish(note=3)
    assert make_step(tmp_path).done()
    there = files.read_json(step.manifest)
    assert (there["finished"], there["note"], there["settings"]) == (True, 3, {"a.b": 1})
    assert there["packages"]["numpy"] and there["seconds"] >= 0
    (tmp_path / "out").unlink()
    assert not make_step(tmp_path).done(), "an output is gone"


def test_a_step_refuses_other_settings_and_inputs(tmp_path):
    step = make_step(tmp_path, {"a.sizes": (64, 32)})
    step.start()
    step.finish()
    assert step.matches(), "tuples are the lists of the file"
    with pytest.raises(
        UserError, match=r"made with a.sizes=64,32, not 128: --run NAME .*, --force replaces it"
    ):
        make_step(tmp_path, {"a.sizes": (128,)}).done()
    with pytest.raises(UserError, match=r"the sorting there was made from another in.csv"):
        make_step(tmp_path, {"a.sizes": (64, 32)}, {"in.csv": "y"}).done()
    with pytest.raises(UserError, match=r"made with a.old=None, not 1|made with a.sizes=64,32, not None"):
        make_step(tmp_path, {"a.old": 1}).done()
    assert not make_step(tmp_path, {"a.sizes": (128,)}).done(force=True)


def test_a_damaged_manifest_is_one_line(tmp_path):
    (tmp_path / "sorting.json").write_text("{")
    with pytest.raises(UserError, match=r"sorting.json cannot be read .*: delete it and run its stage again"):
        make_step(tmp_path).done()


def test_a_folder_is_held_by_one_process(tmp_path):
    code = (
        "import sys, pathlib; from lib import files\n"
        "with files.lock(pathlib.Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(UserError, match=rf"in use by another process \(process {holder.pid}\)"):
            files.lock(tmp_path).__enter__()
        holder.kill()
        holder.wait()
    with files.lock(tmp_path):
        pass


def test_fingerprints_tell_apart(tmp_path):
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "b").write_bytes(b"2")
    assert files.fingerprint_file(tmp_path / "a") != files.fingerprint_file(tmp_path / "b")
    assert files.fingerprint({"x": 1, "y": 2}) == files.fingerprint({"y": 2, "x": 1})


def test_what_others_do_not_build_on_is_made_anew_instead_of_refused(tmp_path):
    first = make_step(tmp_path)
    first.start()
    (tmp_path / "out").touch()
    first.finish()
    assert make_step(tmp_path).done(anew=True)
    other = make_step(tmp_path, inputs={"in.csv": "y"})
    with pytest.raises(UserError):
        other.done()
    assert not other.done(anew=True), "and it is begun"
    other.finish()
    assert make_step(tmp_path, inputs={"in.csv": "y"}).done(anew=True)
