"""Published weights, without a network and with pretended ones."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.error import HTTPError, URLError

import huggingface_hub
import pytest
import timm.models
import torch
import torchvision.models
from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled, RemoteEntryNotFoundError
from safetensors.torch import save_file

from edgecnn.artifact import file_sha256
from edgecnn.cards import ModelCard, find_card
from edgecnn.errors import DependencyMissingError, WeightsError
from edgecnn.spec import WeightsId
from edgecnn.weights import build_module, load_network

TORCHVISION = find_card("squeezenet1_1")
TIMM = find_card("mobilenetv1_100")


@pytest.fixture(autouse=True)
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of torch.hub and of the Hugging Face hub, and no network."""

    def unreachable(*_: object, **__: object) -> None:
        raise AssertionError("a test tried to reach the network")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(torch.hub, "download_url_to_file", unreachable)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", unreachable)
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_, **__: None)
    return tmp_path / "hub"


def _published(card: ModelCard, folder: Path) -> Path:
    """A file of weights that is named like a published one: after its own hash."""
    folder.mkdir(parents=True, exist_ok=True)
    plain = folder / "plain.pth"
    torch.save(build_module(card, 1000).state_dict(), plain)
    return plain.rename(folder / f"published-{file_sha256(plain)[:8]}.pth")


def _offer(monkeypatch: pytest.MonkeyPatch, url: str, name: str = "IMAGENET1K_V1") -> None:
    """Let torchvision publish ``url``."""
    members = [SimpleNamespace(name=name, url=url)]
    monkeypatch.setattr(torchvision.models, "get_model_weights", lambda _: members)


def test_a_cached_file_is_used_without_a_word(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _published(TORCHVISION, hub / "checkpoints")
    _offer(monkeypatch, f"https://example.invalid/models/{path.name}")
    said: list[str] = []
    network = load_network(TORCHVISION, "pretrained", announce=said.append)
    assert network.weights == WeightsId(kind="pretrained", name="IMAGENET1K_V1", sha256=file_sha256(path))
    assert network.classes == TORCHVISION.classes
    assert network.preprocess == TORCHVISION.preprocess
    assert said == []


def test_a_download_is_announced_and_checked(
    hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _published(TORCHVISION, tmp_path / "server")
    url = f"https://example.invalid/{path.name}"
    asked: list[Any] = []

    def download(*arguments: Any, progress: bool) -> None:
        asked.append(arguments)
        shutil.copy(path, arguments[1])

    _offer(monkeypatch, url)
    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    said: list[str] = []
    network = load_network(TORCHVISION, "pretrained", announce=said.append)
    cached = hub / "checkpoints" / path.name
    assert said == [f"Downloading {url} to {cached}"]
    assert asked == [(url, str(cached), file_sha256(path)[:8])]
    assert network.weights.sha256 == file_sha256(path)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (URLError("Name or service not known"), "Name or service not known"),
        (HTTPError("https://example.invalid", 403, "Forbidden", None, None), "403"),  # type: ignore[arg-type]
        (TimeoutError("timed out"), "timed out"),
        (RuntimeError('invalid hash value (expected "a", got "b")'), "invalid hash value"),
        (OSError(28, "No space left on device"), "No space left"),
    ],
)
def test_a_failed_download_names_the_file_its_place_and_the_choices(
    hub: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    with pytest.raises(WeightsError, match=reason) as caught:
        load_network(TORCHVISION, "pretrained")
    assert "squeezenet1_1-b8a52dc0.pth" in caught.value.problem
    assert str(hub / "checkpoints" / "squeezenet1_1-b8a52dc0.pth") in caught.value.remedy
    assert "--weights PATH" in caught.value.remedy
    assert "--weights random --seed N" in caught.value.remedy


def test_a_cached_file_that_is_not_the_published_one_is_refused(hub: Path) -> None:
    path = hub / "checkpoints" / "squeezenet1_1-b8a52dc0.pth"
    path.parent.mkdir(parents=True)
    torch.save(build_module(TORCHVISION, 1000).state_dict(), path)
    with pytest.raises(WeightsError, match="not the published file") as caught:
        load_network(TORCHVISION, "pretrained")
    assert "Remove it" in caught.value.remedy


def test_weights_that_this_torchvision_does_not_have(monkeypatch: pytest.MonkeyPatch) -> None:
    _offer(monkeypatch, "https://example.invalid/a.pth", name="IMAGENET1K_V9")
    with pytest.raises(WeightsError, match="no weights 'IMAGENET1K_V1' for squeezenet1_1") as caught:
        load_network(TORCHVISION, "pretrained")
    assert "IMAGENET1K_V9" in caught.value.remedy


def test_a_cached_file_of_the_hub_gives_what_timm_itself_makes_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.safetensors"
    save_file(
        {name: value.contiguous() for name, value in build_module(TIMM, 1000).state_dict().items()}, path
    )
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_, **__: str(path))
    network = load_network(TIMM, "pretrained")
    assert TIMM.pretrained is not None
    theirs = timm.create_model(
        TIMM.pretrained.id, pretrained=True, pretrained_cfg_overlay={"file": str(path)}
    ).eval()
    image = torch.linspace(-1, 1, 3 * 64 * 64).reshape(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(network.module(image), theirs(image))
    assert network.weights == WeightsId(kind="pretrained", name=TIMM.pretrained.id, sha256=file_sha256(path))


def test_a_hub_without_safetensors_is_asked_for_the_other_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "pytorch_model.bin"
    torch.save(build_module(TIMM, 1000).state_dict(), path)
    asked: list[str] = []

    def download(repository: str, name: str, **_: object) -> str:
        asked.append(name)
        if name != path.name:
            raise RemoteEntryNotFoundError("404", response=SimpleNamespace(headers={}, request=None))  # type: ignore[arg-type]
        return str(path)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    said: list[str] = []
    assert load_network(TIMM, "pretrained", announce=said.append).weights.kind == "pretrained"
    assert asked == ["model.safetensors", "pytorch_model.bin"]
    assert "mobilenetv1_100" in said[0]


@pytest.mark.parametrize(
    "error",
    [
        LocalEntryNotFoundError("An error happened while trying to locate the file on the Hub"),
        OfflineModeIsEnabled("HF_HUB_OFFLINE is set"),
        ConnectionError("unreachable"),
        huggingface_hub.errors.HfHubHTTPError.__bases__[0]("the HTTP library's own error"),
    ],
)
def test_a_failed_download_from_the_hub_names_the_file_and_the_choices(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fail)
    with pytest.raises(WeightsError, match="cannot be downloaded") as caught:
        load_network(TIMM, "pretrained")
    assert "model.safetensors of timm/mobilenetv1_100" in caught.value.problem
    assert huggingface_hub.constants.HF_HUB_CACHE in caught.value.remedy
    assert "--weights PATH" in caught.value.remedy


def test_timm_weights_at_a_plain_address(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _published(TIMM, hub / "checkpoints")
    source = SimpleNamespace(hf_hub_id=None, hf_hub_filename=None, url=f"https://example.invalid/{path.name}")
    monkeypatch.setattr(timm.models, "get_pretrained_cfg", lambda _: source)
    assert load_network(TIMM, "pretrained").weights.sha256 == file_sha256(path)


def test_weights_that_this_timm_does_not_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timm.models, "get_pretrained_cfg", lambda _: None)
    with pytest.raises(WeightsError, match=r"timm .* has no weights"):
        load_network(TIMM, "pretrained")


@pytest.mark.parametrize(
    ("card", "package"),
    [(TORCHVISION, "torchvision.models"), (TIMM, "timm.models"), (TIMM, "huggingface_hub")],
)
def test_a_missing_library_is_named(card: ModelCard, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(DependencyMissingError, match=package.partition(".")[0]):
        load_network(card, "pretrained")
