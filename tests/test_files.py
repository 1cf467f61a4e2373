"""Files are written completely or not at all, fingerprinted by content, and locked by one process."""

import contextlib
import errno
import os
import platform
import resource
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lib import files
from lib.errors import UserError
from tests.conftest import ROOT


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


def test_a_file_is_written_with_its_folders(tmp_path):
    path = tmp_path / "deep" / "er" / "file.txt"
    files.write_text(path, "é\n")
    assert path.read_bytes() == "é\n".encode()
    files.write_text(path, "e\n")
    assert path.read_bytes() == b"e\n" and names(path.parent) == ["file.txt"]


@pytest.mark.parametrize("concurrent", [False, True])
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_failed_write_leaves_the_previous_content(tmp_path, concurrent, error):
    path = tmp_path / "file.txt"
    files.write_text(path, "old")
    with pytest.raises(error), files.write_atomic(path, concurrent) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old" and temporary.parent == path.parent
        raise error
    assert path.read_text() == "old" and names(tmp_path) == ["file.txt"]


def test_a_file_appears_when_it_is_complete(tmp_path):
    with files.write_atomic(tmp_path / "file") as temporary:
        temporary.write_text("half")
        assert not (tmp_path / "file").exists()
        temporary.write_text("whole")
    assert (tmp_path / "file").read_text() == "whole"


def test_what_a_killed_writer_left_is_overwritten(tmp_path):
    with contextlib.suppress(RuntimeError), files.write_atomic(tmp_path / "file") as temporary:
        raise RuntimeError
    temporary.write_text("left by a killed process")
    with files.write_atomic(tmp_path / "file") as again:
        assert again == temporary
        again.write_text("new")
    assert names(tmp_path) == ["file"]


def test_what_killed_writers_left_under_names_of_their_own_is_removed(tmp_path):
    path = tmp_path / "history.csv"
    script = (
        "import os, signal, sys; from pathlib import Path; from lib import files\n"
        "with files.write_atomic(Path(sys.argv[1]), concurrent=True) as part:\n"
        "    part.write_text('half'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    for name in ("history.csv", "other.csv"):
        subprocess.run([sys.executable, "-c", script, tmp_path / name], cwd=ROOT)
    with files.write_atomic(path, concurrent=True) as living:
        living.write_text("another process writes")
        assert len(names(tmp_path)) == 2 and not path.exists()  # the living writer's and that of other.csv
        files._remove_abandoned(path)
        assert living.exists()
    assert path.exists() and len(names(tmp_path)) == 2


def test_processes_that_write_one_file_have_names_of_their_own(tmp_path):
    with files.write_atomic(tmp_path / "file", concurrent=True) as temporary:
        assert str(os.getpid()) in temporary.name
        temporary.write_text("")


def test_a_file_with_this_content_is_left_untouched(tmp_path):
    path = tmp_path / "file.txt"
    files.write_text(path, "same")
    os.utime(path, ns=(0, 0))
    files.write_text(path, "same")
    assert path.stat().st_mtime_ns == 0
    files.write_text(path, "new")
    assert path.stat().st_mtime_ns > 0


def test_tables_and_json_have_a_fixed_form(tmp_path):
    files.write_csv(tmp_path / "a.csv", pd.DataFrame({"id": ["x"], "score": [1 / 3], "count": [2]}))
    assert (tmp_path / "a.csv").read_text() == "id,score,count\nx,0.333333,2\n"
    assert files.read_table(tmp_path / "a.csv", "")["count"].to_dict() == {2: "2"}
    files.write_json(tmp_path / "a.json", {"b": [1], "a": None})
    assert (tmp_path / "a.json").read_text() == '{\n "b": [\n  1\n ],\n "a": null\n}\n'
    assert files.read_json(tmp_path / "a.json") == {"b": [1], "a": None}


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("=HYPERLINK(1)", "'=HYPERLINK(1)"),
        ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
        ("-2+3", "'-2+3"),
        ("@SUM(1)", "'@SUM(1)"),
        ("\t=1", "'\t'=1"),
        ("\r@1", "'\r'@1"),
        ("\uff1d1", "'\uff1d1"),
        ("a;=1", "a;'=1"),
        ("-", "'-"),
        *((text, text) for text in ("a-b=c", "-1.5", "+2e-3", "-7", "", "NA", " =1")),
    ],
)
def test_text_that_a_spreadsheet_would_execute_is_written_as_text(tmp_path, text, written):
    files.write_csv(tmp_path / "a.csv", pd.DataFrame({"id": [text], "score": [-0.25], "count": [-3]}))
    assert (tmp_path / "a.csv").read_bytes().decode() == f"id,score,count\n{written},-0.25,-3\n"


def test_a_folder_that_cannot_be_written_names_the_remedy(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    for write in (
        lambda: files.write_text(tmp_path / "file" / "below", "text"),
        lambda: files.make_folder(tmp_path / "file" / "below"),
        lambda: files.make_folder(tmp_path / "file"),
    ):
        with pytest.raises(UserError, match=rf"{tmp_path}.*no permission to write there.*--work FOLDER"):
            write()
    monkeypatch.setattr(files.os, "access", lambda path, mode: False)
    with pytest.raises(UserError, match=rf"{tmp_path}: no permission to write there.*--work FOLDER"):
        files.make_folder(tmp_path)


def test_a_full_disk_names_the_remedy_and_keeps_the_previous_content(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    for number in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG, errno.EMFILE):
        with pytest.raises(UserError) as error, files.write_atomic(path) as part:
            part.write_text("half")
            raise OSError(number, os.strerror(number))
        assert "\n" not in str(error.value) and names(tmp_path) == ["file"] and path.read_text() == "old"


def test_a_limit_on_the_size_of_files_is_one_line(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(UserError, match=rf"{tmp_path}: .*ulimit -f"):
            files.write_bytes(tmp_path / "file", bytes(2000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert names(tmp_path) == []


def test_a_link_in_place_of_a_temporary_file_is_not_followed(tmp_path):
    (tmp_path / "precious").write_text("old")
    for concurrent, name in ((False, ".file.part"), (True, f".file.{platform.node()}.{os.getpid()}.part")):
        (tmp_path / name).symlink_to("precious")
        with files.write_atomic(tmp_path / "file", concurrent) as part:
            part.write_text("new")
        assert (tmp_path / "precious").read_text() == "old" and not (tmp_path / "file").is_symlink()
    assert names(tmp_path) == ["file", "precious"]
    (tmp_path / ".file.part").mkdir()
    with pytest.raises(UserError, match=r"\.file\.part"), files.write_atomic(tmp_path / "file"):
        pass


def test_fingerprints_depend_on_the_content_alone(tmp_path):
    (tmp_path / "x").mkdir()
    for path, content in ((tmp_path / "a", b"1"), (tmp_path / "b", b"2"), (tmp_path / "x" / "a", b"1")):
        path.write_bytes(content)
    one, other, same = (files.fingerprint_file(tmp_path / name) for name in ("a", "b", "x/a"))
    assert one == same != other and len(one) == 16
    # by name, so that a renamed run is still up to date; by folder too where a name repeats
    assert files.fingerprints(tmp_path / "x" / "a", tmp_path / "b") == {"a": one, "b": other}
    paths = (tmp_path / "x" / "a", tmp_path / "a", tmp_path / "b")
    assert files.fingerprints(*paths) == {"x/a": one, f"{tmp_path.name}/a": one, "b": other}
    assert files.fingerprint({"x": 1, "y": [2]}) == files.fingerprint({"y": [2], "x": 1})
    assert files.fingerprint({"x": 1}) != files.fingerprint({"x": 2})


def test_fingerprints_of_arrays_depend_on_values_shape_and_dtype():
    array = np.arange(6, dtype=np.int32)
    different = [array, array.astype(np.uint32), array.reshape(2, 3), array[::-1], array[:5]]
    assert len({files.fingerprint_arrays(one) for one in different}) == len(different)
    assert files.fingerprint_arrays(array, array) != files.fingerprint_arrays(array)
    assert files.fingerprint_arrays(array.reshape(2, 3).T) == files.fingerprint_arrays(
        np.ascontiguousarray(array.reshape(2, 3).T)
    )


HOLDER = """
import sys, pathlib
from lib import files
shared = sys.argv[2] == "shared"
with files.lock(pathlib.Path(sys.argv[1]), shared):
    print("locked", flush=True)
    sys.stdin.read()
"""


@contextlib.contextmanager
def locked_by_another_process(folder: Path, kind: str):
    """Yield a process that holds the lock of a folder; it is killed in the end."""
    command = [sys.executable, "-c", HOLDER, str(folder), kind]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as holder:
        assert holder.stdout.readline() == "locked\n"
        yield holder
        holder.kill()


def test_a_folder_is_locked_by_one_process_until_it_ends(tmp_path):
    with locked_by_another_process(tmp_path, "exclusive") as holder:
        message = rf"{tmp_path} is in use .*\(process {holder.pid}\).*--run NAME"
        for shared in (False, True):
            with pytest.raises(UserError, match=message), files.lock(tmp_path, shared):
                pass
    with files.lock(tmp_path):
        pass


def test_a_shared_lock_admits_others_that_share_it(tmp_path):
    with locked_by_another_process(tmp_path, "shared"):
        with files.lock(tmp_path, shared=True):
            pass
        with pytest.raises(UserError, match="is in use"), files.lock(tmp_path):
            pass


def test_a_lock_creates_its_folder_and_ends_with_its_block(tmp_path):
    folder = tmp_path / "outputs" / "run"
    with files.lock(folder), pytest.raises(UserError, match="is in use"), files.lock(folder):
        pass
    with files.lock(folder), files.waiting_lock(folder / ".00000.lock"):
        assert (folder / ".00000.lock").exists()


@pytest.mark.parametrize("kind", ["symlink", "dangling", "hard link", "fifo", "folder", "socket"])
def test_a_lock_file_is_never_a_link_or_a_device(tmp_path, kind):
    path, precious = tmp_path / ".lock", tmp_path / "precious"
    precious.write_text("data")
    match kind:
        case "symlink":
            path.symlink_to(precious)
        case "dangling":
            path.symlink_to(tmp_path / "new")
        case "hard link":
            os.link(precious, path)
        case "fifo":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "socket":
            os.mknod(path, stat.S_IFSOCK | 0o600)
    for lock in (files.lock(tmp_path), files.waiting_lock(path)):
        with pytest.raises(UserError, match=r"\.lock is a link.*remove it"), lock:
            pass
    assert precious.read_text() == "data" and not (tmp_path / "new").exists()


def test_the_file_of_a_lock_may_hold_anything(tmp_path):
    (tmp_path / ".lock").write_bytes(b"\xff\x00 longer than the number of a process")
    in_use = pytest.raises(UserError, match="is in use by another process")
    with files.waiting_lock(tmp_path / ".lock"), in_use, files.lock(tmp_path):
        pass
    with files.lock(tmp_path):
        assert (tmp_path / ".lock").read_text() == f"process {os.getpid()}"


def test_another_users_lock_file_is_locked_without_writing(tmp_path, monkeypatch):
    (tmp_path / ".lock").write_text("process 1")
    system = os.open

    def open_file(path, flags, *mode):
        if flags & os.O_RDWR:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return system(path, flags, *mode)

    monkeypatch.setattr(files.os, "open", open_file)
    with files.lock(tmp_path), pytest.raises(UserError, match=r"process 1\)"), files.lock(tmp_path):
        pass
    assert (tmp_path / ".lock").read_text() == "process 1"
    monkeypatch.setattr(files.os, "open", lambda path, *_: open_file(path, os.O_RDWR))  # not even readable
    with pytest.raises(UserError, match=rf"{tmp_path}/\.lock: no permission"), files.lock(tmp_path):
        pass


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.EBADF])
def test_without_locks_one_warning_replaces_them(tmp_path, monkeypatch, capsys, number):
    def flock(file, how):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(files.fcntl, "flock", flock)
    monkeypatch.setattr(files, "_warned", [])
    with files.lock(tmp_path), files.lock(tmp_path / "below"), files.waiting_lock(tmp_path / "shard.lock"):
        pass
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"warning: {tmp_path}: ") and "not kept apart" in line and "--work" in line


@pytest.mark.parametrize(("world", "raises"), [(1, True), (2, False)])
def test_without_locks_processes_do_not_share_networks(tmp_path, monkeypatch, capsys, world, raises):
    def flock(file, how):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(files.fcntl, "flock", flock)
    monkeypatch.setattr(files, "_warned", [])
    monkeypatch.setattr(files, "LOCAL_WORLD", 2)
    monkeypatch.setattr(files, "WORLD", world)  # torchrun's processes train one network, only one locks
    expected = pytest.raises(UserError, match=r"no locks .*start run_all\.sh without --gpus")
    with expected if raises else contextlib.nullcontext(), files.lock(tmp_path):
        pass
    assert ("warning: " in capsys.readouterr().err) != raises


WAITER = """
import sys, pathlib
from lib import files
print("waiting", flush=True)
with files.waiting_lock(pathlib.Path(sys.argv[1])):
    print("locked", flush=True)
"""


def test_a_waiting_lock_waits(tmp_path):
    path = tmp_path / ".lock"
    with files.waiting_lock(path):
        waiter = subprocess.Popen(
            [sys.executable, "-c", WAITER, str(path)], stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        assert waiter.stdout.readline() == "waiting\n"
        with pytest.raises(subprocess.TimeoutExpired):
            waiter.wait(timeout=0.2)
    assert waiter.communicate(timeout=20)[0] == "locked\n"
