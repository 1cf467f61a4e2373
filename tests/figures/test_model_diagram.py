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
        "resnet34\n3 outputs, sigmoid", "stage 1:\nresnet18\n2 outputs, sigmoid",
        "Inside:\nat least 0.5",
        'stage 2:\nresnet18\n2 outputs (+ "other")', "stage 2:\nno network\n1 outputs",
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


def test_long_names_stay_in_their_boxes(draw):
    name = "convnext_tiny.in12k_ft_in1k_384"
    branches = [Branch("Inside", name, ["Nucleoli"], True)]
    (axes,) = draw(model_diagram.both_models, ("baseline", name, 3), ("two", name), branches, "toy").axes
    texts = [text.get_window_extent() for text in axes.texts if name in text.get_text()]
    assert len(texts) == 3, "the baseline and both stages"
    boxes = [patch.get_window_extent() for patch in axes.patches]
    for text in texts:
        assert any(box.x0 < text.x0 and text.x1 < box.x1 and box.y0 < text.y0 < box.y1 for box in boxes)
