import pytest

from lib.errors import UserError
from lib.names import LONGEST, check_name

BAD = (
    "",
    ".",
    "..",
    "../x",
    "a/b",
    "/etc",
    "a\\b",
    "-a",
    ".a",
    "a b",
    "a\n",
    "\u00e9",
    "a\0",
    "x" * (LONGEST + 1),
)


@pytest.mark.parametrize("name", BAD)
def test_names_that_lead_out_of_a_folder_or_cannot_be_written_are_rejected(name):
    with pytest.raises(UserError, match=r"^--run .* cannot be a name: expected .*letters, digits") as error:
        check_name(name, "--run")
    assert str(error.value).isprintable()


@pytest.mark.parametrize("name", ["a", "0", "my_run.2-x", "x" * LONGEST])
def test_other_names_are_returned(name):
    assert check_name(name, "--run") == name
