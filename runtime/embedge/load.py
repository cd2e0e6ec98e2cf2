"""What a first vector waits for, brought in side by side: imports, hashes, the tokenizer, the session.

numpy, onnxruntime and tokenizers are imported in here and not where the other modules begin, so that the files are
hashed meanwhile. ONNX Runtime opens a session without the interpreter lock, once it has begun, and tokenizers reads its
file under it: so the session begins first, and what is left to import gives it the time to.
"""

from typing import TYPE_CHECKING

from embedge.bundle import TOKENIZER, Bundle, Precision
from embedge.errors import EmbedgeError
from embedge.providers import CPU
from embedge.task import Task

if TYPE_CHECKING:
    from embedge.engine import Engine


def load_engine(bundle: Bundle, *, precision: Precision, providers: tuple[str, ...], threads: int) -> "Engine":
    """The engine of a bundle.

    Args:
        bundle: holds the precision.
        precision: of the graph.
        providers: ONNX Runtime execution providers, most wanted first, each of them available.
        threads: most cores to use.

    Raises:
        BundleCorruptError: tokenizer or graph is not what was exported.
        BundleError: one of them cannot be used.
        ProviderError: the first provider did not start.
    """
    files = bundle.graph_files(precision)
    check = Task(lambda: bundle.check((TOKENIZER, *files)))
    from embedge.session import Session
    from embedge.workers import Workers

    def open_session(threads: int) -> Session:
        return Session(
            bundle.graph(precision),
            threads=threads,
            providers=providers,
            width=bundle.manifest.dimension,
            # On a CPU, fp16 needs ONNX Runtime to fold the casts of its weights.
            finished=bundle.manifest.precisions[precision].exporter == "native" and precision != "fp16",
        )

    def open_again(threads: int) -> Session:
        session = open_session(threads)
        bundle.check(files)  # another bundle may have taken its place
        return session

    workers = Task(lambda: Workers(open_session, open_again, cores=threads, spread=providers[0] == CPU))
    from embedge.engine import Engine
    from embedge.tokenise import Tokeniser

    try:
        tokeniser = Tokeniser(bundle.path / TOKENIZER, max_tokens=bundle.manifest.max_tokens)
    except EmbedgeError:
        check.result()  # a changed file explains whatever the others say
        raise
    check.result()
    return Engine(bundle.manifest, tokeniser, workers.result())
