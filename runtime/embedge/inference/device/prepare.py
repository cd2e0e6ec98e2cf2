"""Find and load what providers need, before a bundle is looked for, and before each session.

It is the one module of this package that a CPU imports, and imports no other before a provider needs it.
"""

from embedge.inference.providers import CUDA, Provider


def prepare_providers(providers: tuple[Provider, ...]) -> None:
    """Find and load what the providers need: for CUDA a driver, a card and libraries, for others nothing.

    Raises:
        ProviderError: something is missing; the message says what, and what to do.
    """
    for provider in providers:
        if provider.name == CUDA:
            from embedge.inference.device.cuda import prepare_cuda  # the CPU does not need it

            prepare_cuda(provider)
