"""The options that embedge sets for an execution provider where the caller has not set them."""

from collections.abc import Mapping
from dataclasses import replace

from embedge.bundle.manifest import Precision
from embedge.inference.providers import CUDA, Provider

# ONNX Runtime's arena keeps the memory that it took from the card. Its default doubles at each growth, and took 10 to
# 19 GB in embedge 0.1.0. With this option it grows by what is asked for: a prototype took 3.9 to 5.7 GB for long texts
# (bge-base, fp16, H200).
_ARENA = {"arena_extend_strategy": "kSameAsRequested"}

# Figures: graphs in the shapes of bge-small and bge-base, alone, on an H200 with onnxruntime-gpu 1.31.1. The meaning of
# the options:
# https://onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html#configuration-options
_CUDA_DEFAULTS: Mapping[Precision, Mapping[str, str]] = {
    # A sum of two attention kernels: flash (1), and memory-efficient attention (2) for a card before Ampere, which has
    # no flash. ONNX Runtime's default, cuDNN, plans for 90 to 140 ms each time a batch has a new shape. Flash takes 1.8
    # to 2.5 ms, memory-efficient attention 2.2 to 2.7, and both are as fast from then on. Both are for batches without
    # padding: with the mask [batch, tokens] ONNX Runtime takes neither (its multihead_attention.cc).
    "fp16": {**_ARENA, "sdpa_kernel": "3"},
    # Who asks for fp32 wants fp32. TF32 rounds factors to 10 bits: cosine to the CPU 0.9999965, 4e-4 an element, and
    # 1,902 long documents/s; without it 0.99999988, 3e-7 and 852. No attention kernel needs a plan in fp32.
    "fp32": {**_ARENA, "use_tf32": "0"},
    "int8": _ARENA,
}


def with_defaults(providers: tuple[Provider, ...], precision: Precision) -> tuple[Provider, ...]:
    """Return the providers with embedge's options for this precision; the caller's own options win.

    >>> with_defaults((Provider(CUDA, {"use_tf32": "1"}),), "fp32")[0].options["use_tf32"]
    '1'
    """
    return tuple(
        replace(provider, options={**_CUDA_DEFAULTS[precision], **provider.options})
        if provider.name == CUDA
        else provider
        for provider in providers
    )


def for_session(provider: Provider) -> tuple[str, dict[str, str]]:
    """Return the pair that ONNX Runtime takes for a session.

    The first card is ONNX Runtime's default, and is left out. Where ``device_id`` is named, ONNX Runtime since 1.26
    prints a yellow warning to stderr, that no plugin has this device, and goes on.
    """
    name, options = provider.argument
    if name == CUDA and options.get("device_id") == "0":
        del options["device_id"]
    return name, options
