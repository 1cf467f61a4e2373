"""A data set keeps its cache wherever its folder is, and no other data set gets it."""

import json

import pytest

from lib import datasets


def test_a_folder_within_work_is_relative_to_it(tmp_path):
    work = tmp_path / "project"
    (work / "data").mkdir(parents=True)
    assert datasets.portable(work / "data" / "demo", work) == "data/demo"
    assert datasets.portable(tmp_path / "cells", work) == str(tmp_path / "cells")
    (tmp_path / "link").symlink_to(work / "data")
    assert datasets.portable(tmp_path / "link", work) == "data"


def claim(caches, *arguments):
    return datasets.claim_cache(caches, *arguments).name


def test_data_sets_whose_folders_share_a_name_have_caches_of_their_own(tmp_path):
    assert claim(tmp_path, "cells", "/a/cells", "1") == "cells"
    assert claim(tmp_path, "cells", "/b/cells", "2") == "cells-2"
    assert claim(tmp_path, "cells", "/c/cells", "3") == "cells-3"
    for source, name in (("/a/cells", "cells"), ("/b/cells", "cells-2"), ("/c/cells", "cells-3")):
        assert datasets.find_cache(tmp_path, "cells", source).name == name
    assert datasets.find_cache(tmp_path, "cells", "/d/cells").name == "cells"
    assert datasets.find_cache(tmp_path / "none", "cells", "/d/cells").name == "cells"


def test_a_data_set_that_was_moved_or_renamed_keeps_its_cache(tmp_path):
    claim(tmp_path, "cells", "/a/cells", "1")
    assert claim(tmp_path, "cells", "/b/cells", "1") == "cells"
    assert claim(tmp_path, "images", "/b/images", "1") == "cells"
    assert datasets.find_cache(tmp_path, "images", "/b/images").name == "cells"


def test_a_data_set_that_was_edited_keeps_its_cache(tmp_path):
    claim(tmp_path, "cells", "/a/cells", "1")
    claim(tmp_path, "cells", "/b/cells", "2")
    assert claim(tmp_path, "cells", "/b/cells", "edited") == "cells-2"
    assert claim(tmp_path, "cells", "/a/cells", "1") == "cells"


def test_a_folder_whose_content_was_exchanged_belongs_to_the_data_set_in_it(tmp_path):
    claim(tmp_path, "cells", "/a/cells", "1")
    claim(tmp_path, "cells", "/b/cells", "2")
    assert claim(tmp_path, "cells", "/a/cells", "2") == "cells-2"
    assert datasets.find_cache(tmp_path, "cells", "/a/cells").name == "cells-2"


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"fingerprint": "1"}', '{"fingerprint": 1, "sources": 2}']
)
def test_a_damaged_note_is_written_again(tmp_path, text):
    claim(tmp_path, "cells", "/a/cells", "1")
    (tmp_path / "cells" / "dataset.json").write_text(text)
    assert claim(tmp_path, "cells", "/a/cells", "1") == "cells"
    assert json.loads((tmp_path / "cells" / "dataset.json").read_text())["sources"] == ["/a/cells"]
