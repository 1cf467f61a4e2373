import numpy as np
import pandas as pd

from lib.figures import epochs
from lib.figures.epochs import Panel


def history(validation):
    count = len(validation)
    values = {"epoch": range(1, count + 1), "train_macro_f1": np.linspace(0.1, 0.9, count)}
    return pd.DataFrame(values | {"validation_macro_f1": validation})


def lines_by_label(axes):
    return {line.get_label(): line for line in axes.get_lines()}


def test_macro_f1_has_a_panel_per_network_with_its_highest_and_the_papers(draw):
    panels = [
        Panel("with a paper", history([0.2, 0.5, 0.3]), 40, 0.4189),
        Panel("alone", history([0.1, 0.2])),
        Panel("third", history([0.3])),
    ]
    figure = draw(epochs.macro_f1_over_epochs, panels, "title")
    shown = [axes for axes in figure.axes if axes.axison]
    assert [axes.get_title(loc="left") for axes in shown] == ["with a paper", "alone", "third"]
    lines = lines_by_label(shown[0])
    assert lines["validation"].get_ydata().tolist() == [0.2, 0.5, 0.3]
    assert lines["training"].get_ydata().tolist() == [0.1, 0.5, 0.9]
    highest = lines["highest on validation"]
    assert (highest.get_xdata()[0], highest.get_ydata()[0]) == (2, 0.5)
    paper = "highest of the paper, Kaggle's images"
    assert lines[paper].get_ydata()[0] == 0.4189 and paper not in lines_by_label(shown[1])
    for text in ("0.5000, epoch 2", "0.4189, epoch 40"):
        assert text in shown[0].get_xlabel()
    assert "paper" not in shown[1].get_xlabel()
    (legend,) = figure.legends
    assert {text.get_text() for text in legend.get_texts()} == set(lines)


def test_schedules_have_a_panel_each_on_one_scale(draw):
    curves = {
        f"networks {' and '.join(map(str, range(40)))}": pd.DataFrame(
            {"epoch": [0.5, 1.5], "learning_rate": [0.1, 0.2]}
        ),
        "another": pd.DataFrame({"epoch": [0.5, 3.5], "learning_rate": [0.3, 0.0]}),
    }
    first, second = draw(epochs.learning_rate_schedules, curves, "title").axes
    assert first.get_lines()[0].get_ydata().tolist() == [0.1, 0.2]
    assert second.get_lines()[0].get_xdata().tolist() == [0.5, 3.5]
    assert first.get_xlim() == second.get_xlim() == (0, 4)
    assert first.get_title(loc="left").count("\n") == 3, "a long title is wrapped"
