"""The manifest, ``embedge.json``: what a bundle says of itself, and how that is read.

The schema lives here, once; the exporter imports it.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import PurePosixPath
from typing import Literal, Self, get_args

from embedge.bundle.from_json import read_record
from embedge.bundle.json_checksum import seal
from embedge.errors import BundleError

FORMAT_VERSION = 1
MANIFEST = "embedge.json"
Pooling = Literal["cls", "mean", "last"]
Precision = Literal["int8", "fp32", "fp16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
GRAPHS: Mapping[Precision, str] = {
    "int8": "onnx/model_int8.onnx",
    "fp32": "onnx/model.onnx",
    "fp16": "onnx/model_fp16.onnx",
}
# What graphs give, float32: hidden states [batch, tokens, dimension]; a reranker's scores [batch, dimension], by their
# name in exports of classifiers; with a sparse head, weights of tokens [batch, tokens]; with a multi-vector head,
# vectors of tokens [batch, tokens, dimension], the first's among them and of any length.
HIDDEN, SCORES, TOKEN_WEIGHTS, TOKEN_VECTORS = "last_hidden_state", "logits", "token_weights", "token_vectors"
# Sizes of an output that each run has its own of: texts; tokens of a text; these, or one where the first alone is read.
BATCH, TOKENS, READ_TOKENS = "batch", "tokens", "read tokens"
Shape = tuple[str | int, ...]
Task = Literal["embed", "rerank"]
Similarity = Literal["cosine", "dot", "euclidean", "manhattan"]
Side = Literal["right", "left"]  # of a text
CLASSES: Mapping[Task, str] = {"embed": "Embedder", "rerank": "Reranker"}  # that open a bundle of the task
WEIGHTS_SUFFIX = "_data"  # of the file with a graph's weights, after the name of the graph's own
TOKENIZER = "tokenizer.json"
LARGEST_MANIFEST = 1 << 24  # bytes; real ones have some thousands
# What a manifest said at the top before it had a checksum of itself. Later ones always have one.
_BARE = frozenset({"format_version", "model", "source", "licence", "task", "architecture", "dimension", "max_tokens"})
_BARE |= {"pooling", "sparse", "multi_vector", "prompts", "default_prompt", "files", "precisions"}
# Largest values of the manifest's numbers; memory is allocated by them.
_RANGES: Mapping[str, int] = {"format_version": FORMAT_VERSION, "dimension": 2**16, "max_tokens": 2**20}


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a bundle's checkpoint came from.

    Attributes:
        origin: what was exported: a hub id with its revision, a package with its version, or a directory's name.
        hub_id: the checkpoint's id on the Hugging Face hub, where it has one.
        revision: the hub commit, where it came from there.
        like: the recipe that an export was told to take what the checkpoint does not say from; None where it was not.
        checkpoint_sha256: SHA-256 over every file of the checkpoint that an export reads; in early bundles, over
            weights, config, tokenizer and pooling.
    """

    origin: str
    hub_id: str | None = None
    revision: str | None = None
    like: str | None = None
    checkpoint_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRecord:
    """A file of the bundle: its size in bytes, and its SHA-256 and CRC-32 in hex.

    A load compares the CRC-32, which takes a fraction of the time. None: the bundle was made by an embedge before it.
    """

    size: int
    sha256: str
    crc32: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """How far a graph is from its reference, measured when it was exported.

    Attributes:
        reference: what it was compared to.
        texts: how many texts were embedded by both; none of them calibrated the graph.
        cosine_mean: mean cosine of the two vectors of a text.
        cosine_min: the smallest of them.
        cosine_p1: their first percentile; None where not measured, like all that follow.
        top10_overlap: mean share of a query's ten best passages, by the reference, that are among the graph's ten best.
        max_abs_difference: largest difference between two elements of the last hidden states, padding left out.
        batch_difference: largest difference between two elements of a text's vectors, alone and among others; its
            tokens' vectors included, where there are such.
        lexical_mean: mean agreement of a text's two lexical weights, 1 where they are the same; None also without such.
        lexical_min: the smallest of them.
        multi_vector_mean: mean cosine of the two vectors of a token, over all texts; None also without such.
        multi_vector_min: the smallest of them.
    """

    reference: str
    texts: int
    cosine_mean: float
    cosine_min: float
    cosine_p1: float | None = None
    top10_overlap: float | None = None
    max_abs_difference: float | None = None
    batch_difference: float | None = None
    lexical_mean: float | None = None
    lexical_min: float | None = None
    multi_vector_mean: float | None = None
    multi_vector_min: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """The texts that an int8 graph was fitted to.

    Attributes:
        file: its name; None for the texts that come with the exporter.
        texts: how many.
        sha256: of all of them, in hex.
    """

    file: str | None = None
    texts: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PrecisionRecord:
    """One graph of the bundle.

    Attributes:
        file: its path in the bundle.
        exporter: ``"native"`` (our fused graph, run as it is) or ``"optimum"`` (traced; ONNX Runtime optimises it).
        quality: what verify measured; None where the export was told not to verify.
        calibration: what an int8 graph was fitted to; None for other precisions, and for traced graphs.
        made_by: packages and versions that made it.
    """

    file: str
    exporter: Literal["native", "optimum"]
    quality: Quality | None = None
    calibration: Calibration | None = None
    made_by: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a bundle says of itself.

    Attributes:
        format_version: 1.
        model: the recipe's name, or the checkpoint directory's.
        source: where the checkpoint came from.
        licence: SPDX identifier of the weights' licence; None where unknown.
        task: ``embed`` texts or ``rerank`` pairs of them.
        architecture: the config's ``model_type``, such as ``bert``.
        dimension: of a vector; a reranker's 1, its number of scores.
        max_tokens: longest text in tokens, or pair of texts, special ones included.
        truncation_side: the end of a long text that is cut off, ``right`` or ``left``.
        pooling: ``cls``, ``mean`` or ``last``.
        similarity: how two vectors are compared, as the checkpoint says; ``cosine`` where it says nothing.
        normalize: whether vectors are scaled to length 1; False where the checkpoint has pooling and no Normalize
            module.
        sparse: whether the graphs give weights of tokens, too.
        multi_vector: whether the graphs give vectors of tokens, too.
        prompts: text put in front of an input, by kind: ``query``, ``document`` or a name of the checkpoint's own.
        default_prompt: the name of the prompt that ``encode`` uses when told none; None for no prompt.
        files: every file but the manifest, by path.
        precisions: the graphs, by precision.
    """

    format_version: int = FORMAT_VERSION
    model: str
    source: Source
    licence: str | None = None
    task: Task = "embed"
    architecture: str
    dimension: int
    max_tokens: int
    truncation_side: Side = "right"
    pooling: Literal["cls", "mean", "last"]
    similarity: Similarity = "cosine"
    normalize: bool = True
    sparse: bool = False
    multi_vector: bool = False
    prompts: Mapping[str, str] = field(default_factory=dict)
    default_prompt: str | None = None
    files: Mapping[str, FileRecord]
    precisions: Mapping[str, PrecisionRecord]

    @property
    def outputs(self) -> dict[str, Shape]:
        """What its graphs give, float32, by name, and of which shape."""
        if self.task == "rerank":
            return {SCORES: (BATCH, self.dimension)}
        # A graph whose first token alone is read may give no other.
        rows = READ_TOKENS if self.pooling == "cls" else TOKENS
        outputs: dict[str, Shape] = {HIDDEN: (BATCH, rows, self.dimension)}
        if self.sparse:
            outputs[TOKEN_WEIGHTS] = (BATCH, TOKENS)
        if self.multi_vector:
            outputs[TOKEN_VECTORS] = (BATCH, TOKENS, self.dimension)
        return outputs

    @classmethod
    def from_json(cls, text: str, *, where: str = MANIFEST) -> Self:
        """A manifest from its JSON text; ``where`` names it in errors.

        Raises:
            BundleCorruptError: it has changed since it was written; those of before it had a checksum are not known to.
            BundleError: it is not JSON, of a newer format, or a field is missing, of another type or out of range.
        """
        manifest = read_record(cls, text, where=where, version=FORMAT_VERSION, bare=_BARE)
        _check_ranges(manifest, where)
        for name in (*manifest.files, *(record.file for record in manifest.precisions.values())):
            if not _is_inside(name):
                raise BundleError(f"{where} names a file outside the bundle, {name!r}; get the bundle again")
        return manifest

    def to_json(self) -> str:
        """Its JSON text, with the checksum of what it says, as ``embedge.bundle.json_checksum`` defines it.

        Raises:
            BundleError: it says something that JSON cannot.
        """
        try:
            return seal(asdict(self))
        except ValueError as error:
            raise BundleError(f"{MANIFEST} of {self.model} cannot be written ({error}); export it otherwise") from error


def _is_inside(name: str) -> bool:
    """Whether a manifest may name a file so: by its plain path in the bundle, on any system.

    >>> [_is_inside(name) for name in ("onnx/model.onnx", "../model.onnx", "/model.onnx", "onnx//model.onnx", "")]
    [True, False, False, False, False]
    """
    path = PurePosixPath(name)
    plain = path.as_posix() == name and not path.is_absolute() and not {"..", "."} & {*path.parts, name}
    return plain and name != MANIFEST and not any(letter in name for letter in "\\:\0")


def _check_ranges(manifest: Manifest, where: str) -> None:
    """Raises BundleError where a number is one that no model has, or a graph or the default prompt is not there."""
    mend = "get the bundle again, or export it again"
    for name, most in _RANGES.items():
        found = getattr(manifest, name)
        if not 1 <= found <= most:
            raise BundleError(f"{where}: {name} must be between 1 and {most}, found {found}; {mend}")
    if any(record.size < 0 for record in manifest.files.values()):
        raise BundleError(f"{where}: a file cannot have less than 0 bytes; {mend}")
    graphs = [record.file for record in manifest.precisions.values()]
    if not graphs or len(set(graphs)) < len(graphs):
        raise BundleError(f"{where} must name a graph for each precision, found {', '.join(graphs) or 'none'}; {mend}")
    if manifest.default_prompt is not None and manifest.default_prompt not in manifest.prompts:
        known = ", ".join(manifest.prompts) or "none"
        raise BundleError(f"{where}: default_prompt {manifest.default_prompt!r} is not a prompt ({known}); {mend}")
