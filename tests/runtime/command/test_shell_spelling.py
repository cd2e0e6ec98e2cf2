"""An error names an option as the user types it in the shell, and other text stays as it is."""

from dataclasses import replace
from typing import Any

import pytest

from commands import runner
from embedge import Bundle, EmbedgeError, ProviderError
from embedge.command.bundles import pull
from embedge.command.embed import embed
from embedge.command.main import cli
from embedge.command.shell_spelling import in_shell
from embedge.inference.device.cuda import _check_card
from embedge.inference.device.provider_advice import advise
from embedge.inference.providers import CUDA


class OneCard:
    """What is used of NVIDIA's driver, on a machine with one card."""

    def cuInit(self, flags: int) -> int:  # noqa: N802 - NVIDIA's name
        return 0

    def cuDeviceGetCount(self, count: Any) -> None:  # noqa: N802
        count._obj.value = 1


def printed(monkeypatch: pytest.MonkeyPatch, error: Exception, *words: str) -> str:
    """What the command prints if the model cannot be loaded."""

    def fail(*arguments: Any, **options: Any) -> None:
        raise error

    monkeypatch.setattr("embedge.embedder.Embedder.__init__", fail)
    done = runner().invoke(cli, ["embed", "a text", *words])
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    return done.stderr


def test_a_card_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    with pytest.raises(ProviderError) as caught:
        _check_card(OneCard(), "7")
    assert "device='cuda'" in str(caught.value)
    found = printed(monkeypatch, caught.value, "--device", "cuda:7")
    assert found.endswith("run `nvidia-smi` to see the cards, and pass --device cuda for the first one\n")


def test_a_graph_that_the_device_does_not_run(tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    held = tiny_bundle.manifest.precisions["fp32"]
    bundle = replace(tiny_bundle, manifest=replace(tiny_bundle.manifest, precisions={"int8": held, "fp16": held}))
    another = printed(monkeypatch, EmbedgeError(f"a fact; {advise(bundle, 'int8', CUDA, opened=True)}"))
    assert another == "Error: a fact; load it with --precision fp16\n"
    none = printed(monkeypatch, EmbedgeError(f"a fact; {advise(bundle, 'fp16', CUDA, opened=False)}"))
    assert none == "Error: a fact; remove --device to run on the CPU\n"


@pytest.mark.parametrize("device", ["tpu", "cuda:", "cuda:x", "cuda:1000", "cuda:٣", "CPU", ""])
def test_a_device_that_is_none_is_an_error_of_usage(device: str) -> None:
    done = runner().invoke(cli, ["embed", "a text", "--device", device])
    assert done.exit_code == 2
    assert f"there is no device {device!r}; give cpu, cuda, or cuda:1 for the second GPU" in done.stderr


@pytest.mark.parametrize(
    "message",
    [
        "no bundle of 'device'; the input, output and model must be there",
        "a folder truncate_dim must be empty",
        "PORT=8080 python; run `embedge export x --precision fp16`",
        'threads must="be" device=',
    ],
)
def test_other_text_stays(message: str) -> None:
    assert in_shell(message, embed) == message


def test_an_option_that_the_command_has_not_stays() -> None:
    assert in_shell("load it with precision='fp16'; pass device='cuda'", pull).endswith("pass device='cuda'")
