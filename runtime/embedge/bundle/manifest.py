"""The manifest, ``embedge.json``: the schema of a bundle's description, and how it is read and written.

The exporter writes manifests with the same classes. ``docs/stability.md`` says how the format may change.
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
ExporterName = Literal["native", "optimum"]
EXPORTERS: tuple[ExporterName, ...] = get_args(ExporterName)
Precision = Literal["int8", "fp32", "fp16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
GRAPHS: Mapping[Precision, str] = {
    "int8": "onnx/model_int8.onnx",
    "fp32": "onnx/model.onnx",
    "fp16": "onnx/model_fp16.onnx",
}
FUSED: Mapping[Precision, str] = {"int8": "onnx/model_int8_fused.onnx"}  # for the operators of embedge-kernels
# The outputs of graphs, all float32:
HIDDEN = "last_hidden_state"  # [batch, tokens, dimension]
SCORES = "logits"  # a reranker's, [batch, dimension]; ONNX exports of classifiers use this name
TOKEN_WEIGHTS = "token_weights"  # of a sparse head, [batch, tokens]
TOKEN_VECTORS = "token_vectors"  # of a multi-vector head, [batch, tokens, dimension]; not normalised, [CLS] included
# The dimensions whose size differs from run to run: texts, tokens of a text, and the tokens (all, or one) that a graph
# gives if only the first is read.
BATCH, TOKENS, READ_TOKENS = "batch", "tokens", "read tokens"
Shape = tuple[str | int, ...]
Task = Literal["embed", "rerank"]
Similarity = Literal["cosine", "dot", "euclidean", "manhattan"]
Side = Literal["right", "left"]  # the end of a text that is truncated
CLASSES: Mapping[Task, str] = {"embed": "Embedder", "rerank": "Reranker"}  # the class that opens a bundle
WEIGHTS_SUFFIX = "_data"  # a graph's weights are in the file with the graph's name and this suffix
TOKENIZER = "tokenizer.json"
LARGEST_MANIFEST = 1 << 24  # bytes; real manifests have a few thousand
# Top-level members of manifests that were written before the checksum existed. Later manifests always have a checksum.
_BEFORE_CHECKSUM = frozenset({"format_version", "model", "source", "licence", "task", "architecture", "dimension"})
_BEFORE_CHECKSUM |= {"max_tokens", "pooling", "sparse", "multi_vector", "prompts", "default_prompt", "files"}
_BEFORE_CHECKSUM |= {"precisions"}
# The largest accepted values. Memory is allocated by these numbers, so a damaged one could exhaust it.
_LARGEST: Mapping[str, int] = {"format_version": FORMAT_VERSION, "dimension": 2**16, "max_tokens": 2**20}
_REMEDY = "download or export the bundle again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The checkpoint that a bundle was exported from.

    Attributes:
        origin: the hub id with its revision, the package with its version, or the directory's name.
        hub_id: the checkpoint's id on the Hugging Face hub; None if it has none.
        revision: the hub commit; None for a checkpoint from elsewhere.
        like: the recipe that supplied what the checkpoint does not say (``embedge export --like``); None without one.
        checkpoint_sha256: SHA-256 over all files of the checkpoint that an export reads. In early bundles only over
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

    Loading a bundle compares the CRC-32, which takes a fraction of SHA-256's time. It is None in early bundles; for
    those loading compares the SHA-256.
    """

    size: int
    sha256: str
    crc32: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """How much a graph differs from its reference, as measured by the export.

    The attributes from ``cosine_p1`` on are None if they were not measured; early bundles lack them.

    Attributes:
        reference: what the graph was compared with.
        texts: how many texts were embedded by both; no int8 graph was calibrated with any of them.
        cosine_mean: mean cosine similarity of the two vectors of a text.
        cosine_min: the smallest one.
        cosine_p1: the first percentile.
        top10_overlap: mean share of a query's ten best passages, as the reference ranks them, that are among the
            graph's ten best.
        max_abs_difference: largest difference of two elements of the last hidden states, without padding.
        batch_difference: largest difference of two elements of a text's vectors, embedded alone and in a batch; token
            vectors included, if the graph gives any.
        lexical_mean: mean agreement of a text's lexical weights, 1 if they are equal; None also for graphs without.
        lexical_min: the smallest one.
        multi_vector_mean: mean cosine similarity of a token's two vectors, over all texts; None also for graphs
            without token vectors.
        multi_vector_min: the smallest one.
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
    """The texts that an int8 graph was calibrated with.

    Attributes:
        file: the name of their file; None for the texts that are part of the exporter.
        texts: how many.
        sha256: SHA-256 over all of them, in hex.
    """

    file: str | None = None
    texts: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mending:
    """What an export changed in an int8 graph that was below its quality floor.

    Attributes:
        fine_rows: the names of the linear layers whose rows have 16 bits instead of 8.
        added: by how many bytes the graph's files grew.
        cosine_mean: mean cosine to the reference before; ``Quality`` has the figures after.
        cosine_min: the smallest one before.
    """

    fine_rows: tuple[str, ...]
    added: int
    cosine_mean: float
    cosine_min: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BelowFloor:
    """An output whose quality is below its floor.

    Attributes:
        output: ``vectors``, ``scores``, ``lexical weights`` or ``multi-vectors``.
        mean: the measured mean.
        minimum: the measured minimum.
        floor_mean: the least mean that is allowed.
        floor_minimum: the least minimum that is allowed.
    """

    output: str
    mean: float
    minimum: float
    floor_mean: float
    floor_minimum: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PrecisionRecord:
    """A graph of the bundle.

    Attributes:
        file: its path in the bundle.
        fused: the path of the same graph with the operators of embedge-kernels. It reads the weights of ``file``. None
            if there is none.
        exporter: ``"native"`` for embedge's own fused graph, which ONNX Runtime runs unchanged; ``"optimum"`` for a
            traced graph, which ONNX Runtime optimises when it is loaded.
        quality: the measured quality; None if the export did not verify the graph.
        calibration: the texts that an int8 graph was calibrated with; None for other precisions and traced graphs.
        mended: how the export raised the quality of an int8 graph that was below its floor; None if it did not.
        below_floor: the outputs whose quality is below its floor, which ``embedge export --accept-quality`` accepted.
        made_by: the packages that made it, with their versions.
    """

    file: str
    fused: str | None = None
    exporter: ExporterName
    quality: Quality | None = None
    calibration: Calibration | None = None
    mended: Mending | None = None
    below_floor: tuple[BelowFloor, ...] = ()
    made_by: Mapping[str, str]

    @property
    def graphs(self) -> tuple[str, ...]:
        """The paths of the graph and, if there is one, of the fused graph."""
        return (self.file,) if self.fused is None else (self.file, self.fused)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A bundle's description of itself.

    Attributes:
        format_version: 1.
        model: the recipe's name, the hub id, or the name of the checkpoint's directory.
        source: the checkpoint.
        licence: SPDX identifier of the weights' licence; None if unknown.
        task: ``embed`` for embedding texts, ``rerank`` for scoring pairs of texts.
        architecture: the ``model_type`` of the checkpoint's config, such as ``bert``.
        dimension: the number of elements of a vector; for a reranker the number of scores, 1.
        max_tokens: length in tokens of the longest text, or pair of texts, special tokens included.
        truncation_side: the end at which a longer text is cut off, ``right`` or ``left``.
        pooling: ``cls`` takes the first token's hidden state, ``last`` the last one's, ``mean`` the average of all.
        similarity: the measure that the model was trained for; ``cosine`` if the checkpoint does not say.
        normalize: whether vectors are scaled to length 1; False if the checkpoint has a Pooling and no Normalize
            module.
        sparse: whether the graphs also give a weight of each token.
        multi_vector: whether the graphs also give a vector of each token.
        prompts: text that is put in front of an input, by name: ``query``, ``document``, or the checkpoint's own names.
        default_prompt: the name of the prompt that ``encode`` uses by default; None for no prompt.
        files: every file of the bundle except the manifest, by path.
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
    pooling: Pooling
    similarity: Similarity = "cosine"
    normalize: bool = True
    sparse: bool = False
    multi_vector: bool = False
    prompts: Mapping[str, str] = field(default_factory=dict)
    default_prompt: str | None = None
    files: Mapping[str, FileRecord]
    precisions: Mapping[str, PrecisionRecord]

    @property
    def size(self) -> int:
        """The size of all its files together, in bytes, without the manifest."""
        return sum(record.size for record in self.files.values())

    @property
    def graphs(self) -> list[str]:
        """The paths of all graphs, the fused ones included."""
        return [name for record in self.precisions.values() for name in record.graphs]

    @property
    def outputs(self) -> dict[str, Shape]:
        """The float32 outputs of its graphs: shapes by name."""
        if self.task == "rerank":
            return {SCORES: (BATCH, self.dimension)}
        # CLS pooling reads the first token alone, so a graph may leave out the others.
        rows = READ_TOKENS if self.pooling == "cls" else TOKENS
        outputs: dict[str, Shape] = {HIDDEN: (BATCH, rows, self.dimension)}
        if self.sparse:
            outputs[TOKEN_WEIGHTS] = (BATCH, TOKENS)
        if self.multi_vector:
            outputs[TOKEN_VECTORS] = (BATCH, TOKENS, self.dimension)
        return outputs

    @classmethod
    def from_json(cls, text: str, *, where: str = MANIFEST) -> Self:
        """Read a manifest from its JSON text; ``where`` names it in errors.

        Raises:
            BundleCorruptError: it has changed since it was written, by its checksum, which early manifests lack.
            BundleError: it is not JSON, has a newer format, or a field is missing, has the wrong type or is out of
                range.
        """
        manifest = read_record(cls, text, where=where, version=FORMAT_VERSION, before_checksum=_BEFORE_CHECKSUM)
        _check_ranges(manifest, where)
        for name in (*manifest.files, *manifest.graphs):
            if not _is_inside(name):
                raise BundleError(f"{where} names a file outside the bundle, {name!r}; {_REMEDY}")
        return manifest

    def to_json(self) -> str:
        """Return its JSON text with the checksum that ``embedge.bundle.json_checksum`` defines.

        Raises:
            BundleError: it contains a value that JSON cannot express, such as NaN.
        """
        try:
            return seal(asdict(self))
        except ValueError as error:
            raise BundleError(f"{MANIFEST} of {self.model} cannot be written ({error}); export it again") from error


def _is_inside(name: str) -> bool:
    """Whether a name is the plain path of a file in the bundle, and is one on every operating system.

    >>> [_is_inside(name) for name in ("onnx/model.onnx", "../model.onnx", "/model.onnx", "onnx//model.onnx", "")]
    [True, False, False, False, False]
    """
    path = PurePosixPath(name)
    plain = path.as_posix() == name and not path.is_absolute() and not {"..", "."} & {*path.parts, name}
    return plain and name != MANIFEST and not any(letter in name for letter in "\\:\0")


def _check_ranges(manifest: Manifest, where: str) -> None:
    """Raise BundleError if a number is out of range, or if a graph or the default prompt is missing."""
    for name, most in _LARGEST.items():
        value = getattr(manifest, name)
        if not 1 <= value <= most:
            raise BundleError(f"{where}: {name} must be between 1 and {most}, found {value}; {_REMEDY}")
    if any(record.size < 0 for record in manifest.files.values()):
        raise BundleError(f"{where}: a file's size is less than 0 bytes; {_REMEDY}")
    graphs = manifest.graphs
    if not graphs or len(set(graphs)) < len(graphs):
        found = ", ".join(graphs) or "none"
        raise BundleError(f"{where} must name a graph of its own for each precision, found {found}; {_REMEDY}")
    if manifest.default_prompt is not None and manifest.default_prompt not in manifest.prompts:
        known = ", ".join(manifest.prompts) or "none"
        raise BundleError(f"{where}: default_prompt {manifest.default_prompt!r} is not a prompt ({known}); {_REMEDY}")
