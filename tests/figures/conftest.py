from collections.abc import Callable
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from lib.figures import data_and_training


@pytest.fixture
def draw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Figure]:
    """Call a function that draws a figure, at low resolution; return the figure that it saved."""
    saved, save = [], Figure.savefig

    def savefig(figure: Figure, *arguments: object, **options: object) -> None:
        save(figure, *arguments, **options)
        saved.append(figure)

    def call(function: Callable[..., None], *arguments: object) -> Figure:
        path = tmp_path / "figures" / "figure.png"
        function(path, *arguments)
        assert path.read_bytes().startswith(b"\x89PNG")
        return saved.pop()

    monkeypatch.setattr(Figure, "savefig", savefig)
    monkeypatch.setitem(data_and_training.STYLE, "figure.dpi", 25)
    return call
