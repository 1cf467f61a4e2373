"""All settings of a run together, for the run and for each of its networks and hierarchies.

Settings are grouped into sections (`lib.sections`), so that each step can name the sections that its result
depends on. `lib.presets` holds the values, `lib.contradictions` what does not go together.
"""

import dataclasses
import typing
from dataclasses import dataclass, field, replace
from typing import Any

from lib import contradictions
from lib.errors import UserError
from lib.names import HIERARCHY_NETWORKS, MAIN_HIERARCHY
from lib.overrides import ALL, check_targets, check_untargeted, for_target, parse
from lib.sections import (
    Data,
    Ensemble,
    Features,
    Hierarchy,
    Network,
    Simulation,
    Split,
    Submit,
    Threshold,
    Training,
)
from lib.settings import format_value

OF_NETWORKS = ("network", "training")  # sections in which networks have settings of their own
# does not change the split; the steps that weight scores depend on the content of the file
EVALUATION_ONLY = "split.strata"


@dataclass(frozen=True)
class Config:
    """A preset: its name, its purpose, and its settings by section.

    Attributes
    ----------
    purpose, cost, score : str
        Lines of ``--help``: what it is for, what it takes, what it reaches.
    networks : dict of tuple of str
        The networks of stage 02 by name, each with its ``section.field=value`` overrides.
    hierarchy_networks : dict of tuple of str
        Overrides of the networks of stage 03, by kind (`HIERARCHY_NETWORKS`).
    hierarchies : dict of tuple of str
        Further hierarchies of stage 03 by name, each with its overrides of the section hierarchy.
    overrides : tuple of str
        Those of the command line, which take precedence (`lib.overrides`).

    Raises
    ------
    UserError
        If settings contradict each other.
    """

    name: str
    purpose: str
    cost: str
    score: str
    simulation: Simulation = Simulation()
    data: Data = Data()
    split: Split = Split()
    features: Features = Features()
    network: Network = Network()
    training: Training = Training()
    hierarchy: Hierarchy = Hierarchy()
    threshold: Threshold = Threshold()
    ensemble: Ensemble = Ensemble()
    submit: Submit = Submit()
    networks: dict[str, tuple[str, ...]] = field(default_factory=lambda: {"baseline": ()})
    hierarchy_networks: dict[str, tuple[str, ...]] = field(default_factory=dict)
    hierarchies: dict[str, tuple[str, ...]] = field(default_factory=dict)
    overrides: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        contradictions.check(self)

    def for_network(self, name: str) -> "Config":
        """Return the settings of one of the networks of stage 02."""
        return override(self, self.networks[name], name)

    def for_hierarchy_network(self, kind: str) -> "Config":
        """Return the settings of one kind of the hierarchy's networks.

        Parameters
        ----------
        kind : str
            One of `HIERARCHY_NETWORKS`.

        Raises
        ------
        UserError
            If they contradict each other, or select trees instead of a network.
        """
        own = override(self, self.hierarchy_networks.get(kind, ()), kind)
        if not own.is_network:
            raise UserError(f"hierarchy.train={own.hierarchy.train} needs networks, not network.kind=trees")
        if kind == "stage_1_single":  # one combination of groups per sample
            own = replace(own, training=replace(own.training, loss="cross_entropy", tta_combine="mean"))
        return own

    def for_hierarchy(self, name: str) -> "Config":
        """Return the settings of a hierarchy: of `MAIN_HIERARCHY`, or of a further one."""
        if name == MAIN_HIERARCHY:
            return self
        if name not in self.hierarchies:
            known = " ".join([MAIN_HIERARCHY, *self.hierarchies])
            raise UserError(f"preset {self.name} has no hierarchy {name!r}; it has {known}")
        result, run = override(self, self.hierarchies[name], name), override(self, ())
        own = replace(result.hierarchy, train=run.hierarchy.train)
        if result != replace(run, hierarchy=own):
            raise UserError(f"{name}: a hierarchy has settings of the section hierarchy alone, without train")
        return result

    @property
    def targets(self) -> dict[str, tuple[str, ...]]:
        """What an override may name as its target, and the sections that each has settings of its own in."""
        names = dict.fromkeys([*self.networks, *HIERARCHY_NETWORKS], OF_NETWORKS)
        return {ALL: (*OF_NETWORKS, MAIN_HIERARCHY)} | names | dict.fromkeys(self.hierarchies, ("hierarchy",))

    def for_all_targets(self) -> dict[str, "Config"]:
        """Return the settings of each network, kind of network and further hierarchy of the run, by name."""
        result = {name: self.for_network(name) for name in self.networks}
        if self.hierarchy.train != "none":
            result |= {kind: self.for_hierarchy_network(kind) for kind in HIERARCHY_NETWORKS}
            result |= {name: self.for_hierarchy(name) for name in self.hierarchies}
        return result

    @property
    def is_network(self) -> bool:
        """Whether a network is trained, as opposed to trees on the features alone."""
        return self.network.kind == "network"

    @property
    def uses_features(self) -> bool:
        """Whether the model uses the features of stage 01."""
        return self.network.features != "none"

    @property
    def any_uses_features(self) -> bool:
        """Whether any model of the preset uses the features of stage 01."""
        kinds = HIERARCHY_NETWORKS if self.hierarchy.train != "none" else ()
        every = [*map(self.for_network, self.networks), *map(self.for_hierarchy_network, kinds)]
        return any(one.uses_features for one in every)

    @property
    def array_size(self) -> int:
        """Side of the arrays that the network is trained on, in pixels."""
        return self.training.array_size or self.training.size

    @property
    def feature_size(self) -> int:
        """Side of the arrays that the features are computed on, in pixels."""
        return self.features.size or max(self.data.sizes)

    @property
    def feature_folder(self) -> str:
        """Name of the folder of the features, which depends on all settings that they depend on."""
        chosen = self.features
        return f"features_{self.feature_size}_{chosen.denoise}_{chosen.segmentation}_{chosen.columns}"

    def section(self, name: str) -> dict[str, Any]:
        """Return the settings of one section as ``{"section.field": value}``, on which steps depend.

        Without `EVALUATION_ONLY`.
        """
        values = dataclasses.asdict(getattr(self, name)).items()
        settings = {f"{name}.{key}": value for key, value in values}
        return {key: value for key, value in settings.items() if key != EVALUATION_ONLY}


SECTIONS = {
    item.name: item.type for item in dataclasses.fields(Config) if dataclasses.is_dataclass(item.type)
}


def override(base: Config, overrides: tuple[str, ...], target: str = "") -> Config:
    """Apply a preset's overrides of a target, and those of the command line (``base.overrides``).

    Parameters
    ----------
    overrides : tuple of str
        The target's own.
    target : str
        A network, kind of network or further hierarchy; empty: the run itself.

    Raises
    ------
    UserError
        For an unknown target, section or field, a value of the wrong type or out of bounds, settings that
        contradict each other, or an override without a target of what a network has of its own; the message
        lists what is valid.
    """
    own = [parse(text, f"preset {base.name}: ", SECTIONS) for text in overrides]
    given = [parse(text, "--set ", SECTIONS) for text in base.overrides]
    check_targets(given, base.targets)
    if target not in base.hierarchies:
        check_untargeted(own, given, target, base.targets)
    changes: dict[str, dict[str, Any]] = {name: {} for name in SECTIONS}
    for one in for_target(own, given, target):
        changes[one.section][one.field] = one.value
    sections = {section: replace(getattr(base, section), **fields) for section, fields in changes.items()}
    return replace(base, **sections)


class SettingRow(typing.NamedTuple):
    """A setting for display: ``section.field``, its value as ``--set`` takes it, and its meaning."""

    name: str
    value: str
    meaning: str
    is_default: bool


def list_settings(config: Config) -> list[SettingRow]:
    """Return every setting with its value in `config`."""
    rows = []
    for section, kind in SECTIONS.items():
        for item in dataclasses.fields(kind):
            value = getattr(getattr(config, section), item.name)
            choices = f" ({' | '.join(item.metadata['choices'])})" if item.metadata["choices"] else ""
            meaning = item.metadata["meaning"] + choices
            is_default = value == item.default
            rows.append(SettingRow(f"{section}.{item.name}", format_value(value), meaning, is_default))
    return rows


def list_differences(config: Config) -> dict[str, str]:
    """Return what differs from the run's settings in each network and further hierarchy, as for ``--set``."""
    rows = list_settings(config)
    return {
        name: " ".join(f"{row.name}={row.value}" for row in list_settings(own) if row not in rows)
        for name, own in config.for_all_targets().items()
    }


def describe_settings(config: Config) -> str:
    """Return every setting with its value in `config` and its meaning, then those of networks that differ."""
    lines = [f"{row.name + '=' + row.value:<42}  {row.meaning}" for row in list_settings(config)]
    lines.append("\nsettings of networks and further hierarchies (--set TARGET:SECTION.FIELD=VALUE):")
    for name, differing in list_differences(config).items():
        lines.append(f"{name:<24}{differing or 'as above'}")
    return "\n".join(lines)
