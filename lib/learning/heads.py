"""One network that predicts groups and labels at once: a shared trunk, and a head for each group."""

import torch
from torch import nn
from torch.nn.functional import logsigmoid


class GroupHeads(nn.Module):
    """Maps a representation to consistent logits of labels and groups.

    The probability of a label is that of its group times that of the label within the group, each from
    an output of its own: the soft routing of a hierarchy, trained end to end on the loss of their product.

    Parameters
    ----------
    representation : int
        Width of the representation.
    groups : list of list of int
        The outputs of each group's labels: 0 to C - 1, each in one group.
    width : int
        Outputs of each head's first layer.
    dropout : float
    """

    def __init__(self, representation: int, groups: list[list[int]], width: int, dropout: float) -> None:
        super().__init__()
        self.group = nn.Linear(representation, len(groups))
        self.heads = nn.ModuleList(
            nn.Sequential(
                nn.Linear(representation, width),
                nn.ReLU(inplace=True),
                nn.Dropout(dropout),
                nn.Linear(width, len(labels)),
            )
            for labels in groups
        )
        outputs = [output for labels in groups for output in labels]  # in the order of the heads
        self.order = [outputs.index(output) for output in range(len(outputs))]
        self.group_of = [number for output in range(len(outputs)) for number, labels in enumerate(groups)
                         if output in labels]  # fmt: skip

    def forward(self, representation_BR: torch.Tensor) -> torch.Tensor:
        """Return logits, shape (B, C + G): of the labels, then of the groups."""
        group_BG = self.group(representation_BR).float()
        within_BC = torch.cat([head(representation_BR) for head in self.heads], dim=1)[:, self.order].float()
        log_p_BC = logsigmoid(group_BG)[:, self.group_of] + logsigmoid(within_BC)
        # the logit of p, from its logarithm: log p - log(1 - p); p below 1 by what float32 can resolve
        logit_BC = log_p_BC - torch.log(-torch.expm1(log_p_BC.clamp(max=-1e-6)))
        return torch.cat([logit_BC, group_BG], dim=1)
