"""Pages are single files, escape what they show and round it as the templates ask."""

import base64
import io

import jinja2
import numpy as np
import pytest
from PIL import Image

from lib.report import html


@pytest.fixture
def render(tmp_path, monkeypatch):
    """Render a template given as text; return the page."""
    (tmp_path / "pages").mkdir()
    monkeypatch.setattr(html, "__file__", str(tmp_path / "html.py"))

    def call(template, **context):
        (tmp_path / "pages" / "a.html").write_text(template)
        html.render(tmp_path / "out" / "page.html", "a.html", **context)
        return (tmp_path / "out" / "page.html").read_text()

    return call


def test_text_cannot_become_markup(render):
    page = render("<p>{{ name }}</p>", name="<script>alert('&')</script>")
    assert page == "<p>&lt;script&gt;alert(&#39;&amp;&#39;)&lt;/script&gt;</p>"


def test_numbers_are_rounded(render):
    page = render(
        "{{ 0.12345 | f3 }} {{ nan | f3 }} {{ 1234.5 | n }} {{ 0.255 | percent }} {{ 75 | seconds }}",
        nan=np.nan,
    )
    assert page == "0.123 \N{EN DASH} 1,234 26% 1 min 15 s"


def test_columns_of_words_are_told_from_columns_of_numbers(render):
    rows = [{"a": "Cytosol", "b": "-", "c": "0.5"}, {"a": "-", "b": "0.500 (fixed)", "c": "frequency"}]
    assert render("{{ rows | text_columns | sort | join }}", rows=rows) == "ac"


def test_what_is_missing_is_an_error_and_leaves_the_page_as_it_was(render, tmp_path):
    before = render("<p>{{ name }}</p>", name="old")
    with pytest.raises(jinja2.UndefinedError, match="nmae"):
        render("<p>{{ nmae }}</p>", name="new")
    assert (tmp_path / "out" / "page.html").read_text() == before
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["page.html"]


def decoded(uri):
    head, _, content = uri.partition(",")
    assert head == "data:image/webp;base64"
    return Image.open(io.BytesIO(base64.b64decode(content)))


def test_figures_are_embedded_without_loss(tmp_path, render):
    drawing = np.full((300, 300, 3), 255, np.uint8)
    drawing[100:120, 20:280] = (47, 109, 179)
    Image.fromarray(drawing).save(tmp_path / "drawing.png")
    uri = html.data_uri(tmp_path / "drawing.png")
    assert len(uri) < 2000 and np.array_equal(np.asarray(decoded(uri).convert("RGB")), drawing)
    page = render("<img src='{{ figure | picture }}'>", figure=tmp_path / "drawing.png")
    assert page == f"<img src='{uri}'>"


def test_large_pictures_lose_a_little(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (450, 450, 1), dtype=np.uint8).repeat(3, axis=2)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    uri = html.data_uri(tmp_path / "noise.png")
    assert len(uri) < 0.6 * (tmp_path / "noise.png").stat().st_size
    assert np.abs(np.asarray(decoded(uri).convert("RGB"), float) - noise).mean() < 15


def test_webp_files_are_embedded_as_they_are(tmp_path):
    path = tmp_path / "0000.webp"
    Image.new("RGB", (8, 8), "red").save(path, quality=50)
    assert base64.b64decode(html.data_uri(path).partition(",")[2]) == path.read_bytes()
