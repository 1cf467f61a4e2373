import dataclasses

import pytest
import torch

from lib.errors import UserError
from lib.learning import devices
from lib.learning.devices import autocast, choose_device, choose_type, make_deterministic
from tests.learning import train_toy

CPU, GPU = torch.device("cpu"), torch.device("cuda:0")


def test_each_process_takes_its_own_gpu_and_otherwise_the_cpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device() == CPU
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device() == GPU
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert choose_device() == torch.device("cuda:3")


def test_the_same_seed_draws_the_same_numbers():
    make_deterministic(5)
    first = torch.rand(4)
    make_deterministic(5)
    assert torch.equal(torch.rand(4), first) and torch.backends.cudnn.deterministic
    assert not torch.backends.cudnn.benchmark
    make_deterministic(6)
    assert not torch.equal(torch.rand(4), first)


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
