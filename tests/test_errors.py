from lib.errors import quote


def test_text_in_a_message_is_quoted_on_one_line_and_short():
    assert quote("a") == "'a'" and quote("a\nb\u2028\0") == "'a\\nb\\u2028\\x00'"
    assert quote("x" * 80) == repr("x" * 80) and quote("x" * 1000, longest=3) == "'xxx...'"
