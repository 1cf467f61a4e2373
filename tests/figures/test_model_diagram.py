from lib.figures import model_diagram
from lib.figures.model_diagram import Branch

BRANCHES = [
    Branch("Inside", "resnet18", ["Nucleoli", "Nucleoplasm"], True),
    Branch("Outside", "no network", ["Cytosol"], False),
]


def test_both_models_are_drawn_with_their_networks_groups_and_classes(draw):
    arguments = (("baseline", "resnet34", 3), ("two", "resnet18"), BRANCHES, "toy")
    (axes,) = draw(model_diagram.both_models, *arguments).axes
    texts = [text.get_text() for text in axes.texts]
    for words in (
        "baseline: one network", "two: a network for the groups, and one for each group",
        "resnet34\n3 outputs, sigmoid", "stage 1: resnet18\n2 outputs, sigmoid",
        "Inside:\nat least 0.5", 'stage 2: resnet18\n2 outputs (+ "other")', "stage 2: no network\n1 outputs",
        'Nucleoli\nNucleoplasm\n"other" (variant)', "Cytosol",
    ):  # fmt: skip
        assert texts.count(words) == 1, words
    assert len(axes.patches) == 3 + 2 + 2 * 2, "three boxes of the baseline, two and two per group"
    arrows = [text for text in axes.texts if text.get_text() == ""]
    assert len(arrows) == 2 + 1 + 3 * 2
    assert axes.get_title(loc="left") == "toy"
    # groups stand below one another, each beside its classes
    heights = {text.get_text(): text.get_position()[1] for text in axes.texts}
    assert heights["Inside:\nat least 0.5"] > heights["Outside:\nat least 0.5"] == heights["Cytosol"] > 0
