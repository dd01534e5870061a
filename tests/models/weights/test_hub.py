"""A hub that cannot be reached is noticed in seconds; models of timm with random weights need none."""

from __future__ import annotations

import socket
import threading
import time

import pytest
import timm
import torch
from huggingface_hub import constants

from leopart.errors import LeopartError
from leopart.models.backbone import load_backbone
from leopart.models.weights import hub


def test_a_host_that_listens_is_reachable_and_one_that_does_not_is_not():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert hub.reachable(f"http://127.0.0.1:{port}")
    assert not hub.reachable(f"http://127.0.0.1:{port}")


def test_a_name_that_is_looked_up_for_ever_ends_the_patience(monkeypatch: pytest.MonkeyPatch):
    """As name servers do that drop packets."""
    done = threading.Event()
    monkeypatch.setattr(hub, "_PATIENCE", 0.2)
    monkeypatch.setattr(hub, "_connect", lambda *_: done.wait(20))
    start = time.monotonic()
    assert not hub.reachable("https://example.invalid")
    assert time.monotonic() - start < 10
    done.set()


@pytest.mark.parametrize(
    ("up", "proxies", "offline"), [(False, {}, True), (True, {}, False), (False, {"https": "p"}, False)]
)
def test_the_client_asks_its_cache_alone_where_the_hub_is_away(monkeypatch, up, proxies, offline):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub, "reachable", lambda _: up)
    monkeypatch.setattr(hub, "getproxies", lambda: proxies)
    with hub.quick_hub():
        assert constants.HF_HUB_OFFLINE is offline
    assert constants.HF_HUB_OFFLINE is False


def test_weights_of_timm_fail_in_seconds_without_the_hub(monkeypatch, tmp_path):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(hub, "reachable", lambda _: False)
    monkeypatch.setattr(hub, "getproxies", dict)
    start = time.monotonic()
    with pytest.raises(LeopartError, match="timm could not get the weights of vit_tiny_patch16_224"):
        load_backbone("timm:vit_tiny_patch16_224")
    assert time.monotonic() - start < 30


def test_random_weights_of_timm_are_always_the_same_and_are_those_of_timm():
    name = "timm:vit_tiny_patch16_224?pretrained=false"
    before = torch.random.get_rng_state()
    first, second = load_backbone(name), load_backbone(name)
    assert torch.equal(before, torch.random.get_rng_state())
    assert first.fingerprint == second.fingerprint
    assert (first.source, first.spec.labels) == (name, "none")
    torch.manual_seed(0)
    theirs = timm.create_model("vit_tiny_patch16_224", pretrained=False, num_classes=0).eval()
    image = torch.rand(1, 3, 224, 224)
    pixels = (image - torch.tensor(first.spec.mean)[:, None, None]) / torch.tensor(first.spec.std)[
        :, None, None
    ]
    expected = theirs.forward_features(pixels)[:, 1:].reshape(1, 14, 14, 192)
    torch.testing.assert_close(first(image).tokens, expected, rtol=1e-4, atol=1e-4)
    with pytest.raises(LeopartError, match=r"after the \? comes pretrained=true or pretrained=false"):
        load_backbone("timm:vit_tiny_patch16_224?seed=3")
