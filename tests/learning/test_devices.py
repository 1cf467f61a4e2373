import copy
import dataclasses
import platform
import resource
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from lib.errors import UserError
from lib.learning import devices
from lib.learning.devices import (
    autocast,
    choose_device,
    choose_type,
    in_float32,
    make_deterministic,
    resolve_precision,
)
from lib.sections import Network
from tests.conftest import ROOT
from tests.learning import train_toy
from tests.learning.tiny import network

CPU, GPU = torch.device("cpu"), torch.device("cuda:0")


def test_each_process_takes_its_own_gpu_and_otherwise_the_cpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device() == CPU
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device() == GPU
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert choose_device() == torch.device("cuda:3")


COUNT_PAGES = """
import resource, torch
from lib.learning.devices import keep_freed_memory

def new_pages():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(40):
        torch.ones(2**24)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

print(new_pages())
keep_freed_memory()
print(new_pages())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_freed_memory_is_used_again():
    """40 times 64 MB: new pages of memory each time before, the same pages after."""
    before, after = map(
        int, subprocess.check_output([sys.executable, "-c", COUNT_PAGES], cwd=ROOT, text=True).split()
    )
    pages = 2**26 / resource.getpagesize()
    assert before > 39 * pages and after < before / 2


def test_the_same_seed_draws_the_same_numbers():
    make_deterministic(5)
    first = torch.rand(4)
    make_deterministic(5)
    assert torch.equal(torch.rand(4), first) and torch.backends.cudnn.deterministic
    assert not torch.backends.cudnn.benchmark
    make_deterministic(6, benchmark=True)
    assert not torch.equal(torch.rand(4), first)
    assert torch.backends.cudnn.benchmark and not torch.backends.cudnn.deterministic
    make_deterministic(6)
    assert not torch.backends.cudnn.benchmark


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_a_named_precision_is_used_on_every_device(precision):
    assert choose_type(precision, CPU) == choose_type(precision, GPU) == getattr(torch, precision)


@pytest.mark.parametrize(("fast", "expected"), [(True, torch.bfloat16), (False, torch.float16)])
def test_auto_asks_a_gpu_for_fast_bfloat16(monkeypatch, fast, expected):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: fast)
    assert choose_type("auto", GPU) == expected


@pytest.mark.parametrize(("avx512", "amx", "expected"), [
    (False, False, torch.float32), (True, False, torch.bfloat16), (False, True, torch.bfloat16),
])  # fmt: skip
def test_auto_asks_a_cpu_for_fast_bfloat16(monkeypatch, avx512, amx, expected):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx, raising=False)
    assert choose_type("auto", CPU) == expected


def test_the_share_of_depthwise_convolutions_is_counted(monkeypatch):
    class Mixed(torch.nn.Module):
        """One plain and one depthwise convolution, of 8 by 8 and 4 by 4 outputs, and a linear layer."""

        num_features = 6

        def __init__(self):
            super().__init__()
            self.body = torch.nn.Sequential(
                torch.nn.Conv2d(4, 6, 3, padding=1), torch.nn.Conv2d(6, 6, 5, 2, padding=2, groups=6),
                torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(6, 3),
            )  # fmt: skip

        def forward(self, images_BKHW):
            return self.body(images_BKHW)

    model = SimpleNamespace(backbone=Mixed(), spec=SimpleNamespace(channels="RGBY", size=8))
    model.modules, model.parameters = model.backbone.modules, model.backbone.parameters
    share = 6 * 16 * 25 / (6 * 64 * 36 + 6 * 16 * 25 + 6 * 3)
    assert devices.depthwise_share(model) == pytest.approx(share)
    assert not [layer for layer in model.modules() if layer._forward_hooks]
    assert devices.depthwise_share(train_toy.Toy()) == 0
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True, raising=False)
    assert resolve_precision("auto", CPU, train_toy.Toy(), gradients=True) == "bfloat16"
    for limit, expected in ((share * 1.01, "bfloat16"), (share * 0.99, "float32")):
        monkeypatch.setattr(devices, "SLOW_SHARE", limit)
        assert resolve_precision("auto", CPU, model, gradients=True) == expected
        assert resolve_precision("auto", CPU, model, gradients=False) == "bfloat16"
    assert resolve_precision("bfloat16", CPU, model, gradients=True) == "bfloat16"


@pytest.mark.parametrize(("name", "expected"), [
    ("resnet18", "bfloat16"), ("tf_efficientnet_lite0", "float32"), ("convnext_atto", "bfloat16"),
    ("mobilenetv2_050", "float32"),
])  # fmt: skip
def test_auto_is_the_precision_measured_to_be_faster(monkeypatch, name, expected):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True, raising=False)
    assert resolve_precision("auto", CPU, network(Network(architecture=name)), gradients=True) == expected


def test_a_layer_computes_in_float32_within_mixed_precision():
    torch.manual_seed(0)
    plain, values = torch.nn.Linear(64, 3), torch.randn(2, 64).bfloat16()
    expected, names = torch.nn.functional.linear(values.float(), plain.weight, plain.bias), plain.state_dict()
    in_float32(plain)
    copied = copy.deepcopy(plain)
    for layer in (plain, copied):
        with autocast("bfloat16", CPU):
            output = layer(values)
        assert torch.equal(output, expected) and isinstance(layer, torch.nn.Linear)
    assert copied.weight is not plain.weight and list(plain.state_dict()) == list(names)
    pair = (torch.nn.Linear(4, 3), torch.nn.Linear(4, 3))
    in_float32(pair)
    with autocast("bfloat16", CPU):
        assert pair[1](torch.ones(1, 4)).dtype == torch.float32


def test_mixed_precision_applies_to_the_block():
    with autocast("bfloat16", CPU):
        assert torch.mm(torch.ones(2, 2), torch.ones(2, 2)).dtype == torch.bfloat16
    with autocast("float32", CPU):
        assert torch.mm(torch.ones(2, 2), torch.ones(2, 2)).dtype == torch.float32


def test_compiling_without_a_compiler_names_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(UserError, match=r"training\.compile=true needs a C\+\+ compiler.* g\+\+ "):
        train_toy.train(tmp_path, dataclasses.replace(train_toy.SETTINGS, compile=True))


def test_a_compiler_is_enough_to_compile(monkeypatch):
    monkeypatch.setattr(devices.shutil, "which", lambda name: f"/bin/{name}" if name == "my-cxx" else None)
    monkeypatch.setattr(torch, "compile", lambda network: ("compiled", network))
    monkeypatch.setenv("CXX", "my-cxx")
    network = torch.nn.Identity()
    assert devices.compiled(network) == ("compiled", network)
