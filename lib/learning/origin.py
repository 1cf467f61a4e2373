"""Where a network's initial weights come from, and what of them belongs to other parts than the backbone."""

from typing import NamedTuple

import torch
from torch import nn

from lib.errors import UserError
from lib.learning.network_spec import NetworkSpec
from lib.learning.weights_file import Weights, same_shape


class Origin(NamedTuple):
    """Where initial weights come from, and what else of the same network is known.

    Attributes
    ----------
    source : dict of str
        As `NetworkSpec.initial_weights`.
    channels : int
        Input channels of its first layer; 0 where it has none.
    rest : dict of Tensor
        The tensors of a network of ours, or of the winner's, that are not the backbone's: of the head
        (``head.``), mean and std of the input.
    outputs : list of str
        Names of its outputs; empty where they are unknown.
    is_complete : bool
        Whether all tensors of the backbone were given, its last layer included.
    """

    source: dict[str, str]
    channels: int = 0
    rest: Weights = {}  # noqa: RUF012 (never modified)
    outputs: list[str] = []  # noqa: RUF012
    is_complete: bool = False

    def copy_head(self, head: nn.Module | None, spec: NetworkSpec) -> bool:
        """Copy what fits into a network's head, its last layer only for the same outputs.

        Returns
        -------
        bool
            Whether no tensor of the network starts at random.
        """
        if head is None:
            return self.is_complete and spec.has_own_last_layer
        own, same = head.state_dict(), self.outputs == spec.outputs
        given = {name.removeprefix("head."): value for name, value in self.rest.items()}
        taken = {
            name: given[name]
            for name in own
            if same_shape(own, given, name) and (same or not name.startswith("last."))
        }
        head.load_state_dict(own | taken)
        return self.is_complete and len(taken) == len(own) and spec.has_own_last_layer

    def statistics(self, channels: int) -> tuple[list[float], list[float]]:
        """Return mean and std of the input, grey levels 0-255, R G B (Y).

        Raises
        ------
        UserError
            If the file has none, or not for all channels.
        """
        mean, std = (self.rest.get(name, torch.empty(0)).flatten().tolist() for name in ("mean", "std"))
        if min(len(mean), len(std)) < channels:
            raise UserError(
                f"network.normalisation=start: {self.source['source']} holds no mean and std for "
                f"{channels} channels, as a network of this project does: use network.normalisation=standard"
            )
        return mean, std
