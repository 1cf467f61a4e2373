"""A step is done once for the same settings and inputs, and every reason to do it again is recognised."""

import pytest

from lib import files, steps
from lib.errors import UserError
from lib.steps import Step


def make(folder, settings=None, inputs=None):
    return Step(
        "sorting",
        folder / "sorting.json",
        {"a.b": 1} if settings is None else settings,
        {"in.csv": "x"} if inputs is None else inputs,
        [folder / "out"],
    )


def finished(folder, **arguments):
    """Return a step whose work is complete."""
    step = make(folder, **arguments)
    step.start()
    (folder / "out").write_text("result")
    step.finish()
    return step


def is_started(folder):
    """Return whether the manifest is that of unfinished work."""
    return not steps.is_finished(folder / "sorting.json")


def test_a_new_step_is_started(tmp_path):
    step = make(tmp_path)
    assert not step.finished() and not step.manifest.exists()
    assert not step.up_to_date()
    assert step.manifest.exists() and is_started(tmp_path)


def test_a_finished_step_is_up_to_date(tmp_path):
    step = finished(tmp_path)
    before = step.manifest.read_bytes()
    again = make(tmp_path)
    assert again.up_to_date() and again.finished() and again.matches()
    assert again.up_to_date(rebuild=True)
    assert step.manifest.read_bytes() == before


def test_a_killed_step_is_started_again(tmp_path):
    make(tmp_path).start()
    (tmp_path / "out").write_text("half")
    again = make(tmp_path)
    assert again.matches() and not again.finished() and not again.up_to_date()


def test_a_step_whose_output_is_missing_is_started_again(tmp_path):
    finished(tmp_path)
    (tmp_path / "out").unlink()
    again = make(tmp_path)
    assert again.finished(), "the manifest alone does not know"
    assert not again.up_to_date() and is_started(tmp_path)


def test_force_starts_a_finished_step(tmp_path):
    step = finished(tmp_path)
    assert not step.finished(force=True)
    assert not make(tmp_path).up_to_date(force=True) and is_started(tmp_path)


@pytest.mark.parametrize("is_finished", [True, False])
@pytest.mark.parametrize(
    ("settings", "inputs", "difference"),
    [
        ({"a.b": 2, "a.sizes": (64, 32)}, {"in.csv": "x"}, "a.b=1, not 2"),
        ({"a.b": 1, "a.sizes": (64,)}, {"in.csv": "x"}, "a.sizes=64,32, not 64"),
        ({"a.b": 1, "a.sizes": (64, 32), "a.new": 3}, {"in.csv": "x"}, "a.new=None, not 3"),
        ({"a.b": 1}, {"in.csv": "x"}, "a.sizes=64,32, not None"),
        ({"a.b": 1, "a.sizes": (64, 32)}, {"in.csv": "y"}, "different in.csv"),
        ({"a.b": 1, "a.sizes": (64, 32)}, {"in.csv": "x", "more.csv": "z"}, "different more.csv"),
        ({"a.b": 1, "a.sizes": (64, 32)}, {}, "different in.csv"),
    ],
)
def test_another_result_is_neither_reused_nor_replaced_unasked(
    tmp_path, is_finished, settings, inputs, difference
):
    first = make(tmp_path, {"a.b": 1, "a.sizes": (64, 32)})
    first.start()
    (tmp_path / "out").touch()
    if is_finished:
        first.finish()
    before = first.manifest.read_bytes()
    other = make(tmp_path, settings, inputs)
    for ask in (other.up_to_date, other.finished, other.matches):
        with pytest.raises(UserError) as error:
            ask()
        message = str(error.value)
        assert message.startswith(f"{tmp_path}: the existing sorting was made ") and difference in message
        assert "--run NAME" in message and "--force" in message and "\n" not in message
    assert not other.matches(force=True) and first.manifest.read_bytes() == before
    assert other.identity != first.identity


@pytest.mark.parametrize("how", ["force", "rebuild"])
def test_another_result_is_replaced_when_asked(tmp_path, how):
    finished(tmp_path)
    other = make(tmp_path, inputs={"in.csv": "y"})
    assert not other.up_to_date(**{how: True}) and is_started(tmp_path)
    other.finish()
    assert make(tmp_path, inputs={"in.csv": "y"}).up_to_date()


def test_rebuild_starts_what_does_not_exist(tmp_path):
    assert not make(tmp_path).up_to_date(rebuild=True) and is_started(tmp_path)


def test_tuples_and_order_make_no_difference(tmp_path):
    finished(tmp_path, settings={"a.sizes": (64, 32), "a.b": 1})
    again = make(tmp_path, {"a.b": 1, "a.sizes": [64, 32]})
    assert again.up_to_date()
    assert again.identity == make(tmp_path, {"a.sizes": (64, 32), "a.b": 1}).identity


def test_the_manifest_records_what_the_result_depends_on(tmp_path):
    manifest = files.read_json(finished(tmp_path).manifest)
    assert (manifest["step"], manifest["finished"]) == ("sorting", True)
    assert (manifest["settings"], manifest["inputs"]) == ({"a.b": 1}, {"in.csv": "x"})
    assert manifest["packages"]["numpy"] and manifest["seconds"] >= 0
    make(tmp_path).start()
    manifest = files.read_json(tmp_path / "sorting.json")
    assert manifest["finished"] is False and "seconds" not in manifest


def test_a_package_that_is_not_installed_has_no_version(monkeypatch):
    monkeypatch.setattr(steps, "PACKAGES", ("numpy", "no-such-package"))
    found = steps.versions()
    assert found["numpy"] and found["no-such-package"] == ""


def test_an_alternative_can_be_offered(tmp_path):
    finished(tmp_path)
    other = Step("array", tmp_path / "sorting.json", {}, {}, [], alternative="--work FOLDER uses another")
    with pytest.raises(UserError, match=r"--work FOLDER uses another, --force replaces it"):
        other.up_to_date()


def test_a_damaged_manifest_is_one_line_and_force_replaces_it(tmp_path):
    (tmp_path / "sorting.json").write_text("{")
    with pytest.raises(
        UserError, match=r"sorting.json is damaged .*: delete it and run `python 00_prepare.py`"
    ):
        make(tmp_path).up_to_date()
    assert not make(tmp_path).up_to_date(force=True) and is_started(tmp_path)


def test_a_step_without_a_manifest_is_not_finished(tmp_path):
    assert not steps.is_finished(tmp_path / "sorting.json")
