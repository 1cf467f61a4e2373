"""Pages: HTML files that contain everything they show, rendered from the templates in ``pages/``."""

import base64
import io
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from PIL import Image

from lib import files
from lib.console import format_seconds

WRITER = "05_submit.py"  # draws missing examples again, and leaves missing figures out of the page
LOSSLESS_BYTES = 150_000  # larger figures show images; their compression is lossy


def render(path: Path, template: str, **context: Any) -> None:
    """Render a template and write the page, completely or not at all.

    Templates have the filters ``f3`` (three decimals, a dash for nan), ``n`` (thousands separated),
    ``percent``, ``seconds``, ``text_columns`` (of rows as dicts of str, the columns with a value that begins
    with a letter) and ``picture`` (an image file as a data URI).
    """
    loader = jinja2.FileSystemLoader(Path(__file__).with_name("pages"))
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "f3": lambda value: "\N{EN DASH}" if pd.isna(value) else f"{value:.3f}",
        "n": lambda value: f"{value:,.0f}",
        "percent": lambda value: f"{value:.0%}",
        "seconds": format_seconds,
        "text_columns": lambda rows: {name for row in rows for name in row if row[name][:1].isalpha()},
        "picture": data_uri,
    }
    files.write_text(path, environment.get_template(template).render(**context))


def data_uri(path: Path) -> str:
    """Return an image as a data URI; a PNG as WebP, a third of the size, lossless unless it is large.

    A missing or damaged image is a `UserError`.
    """
    with files.reading(path, WRITER):
        content = path.read_bytes()
        with Image.open(io.BytesIO(content)) as picture:
            picture.load()
            if picture.format == "PNG":
                lossless = _webp(picture, lossless=True)
                content = lossless if len(lossless) <= LOSSLESS_BYTES else _webp(picture, quality=85)
    return f"data:image/webp;base64,{base64.b64encode(content).decode()}"


def _webp(picture: Image.Image, **options: Any) -> bytes:
    with io.BytesIO() as file:
        picture.save(file, "WEBP", **options)
        return file.getvalue()
