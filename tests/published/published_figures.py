"""Published figures of the real checkpoints, with their sources, and how near a bundle must be."""

import math

from figure_kinds import (
    Figure,
    LexicalScores,
    LexicalWeights,
    MultiVectorScores,
    Scores,
    Similarities,
    StsB,
    VectorHead,
)

FASTEMBED = "https://github.com/qdrant/fastembed tests/test_text_onnx_embeddings.py"
FASTEMBED_RERANKERS = "https://github.com/qdrant/fastembed tests/test_text_cross_encoder.py"
SPYRE = "https://github.com/torch-spyre/spyre-inference tests/data/rerank_score_refs.json (transformers, float32)"
INFERENCE = "https://github.com/FlagOpen/FlagEmbedding examples/inference/reranker/README.md"
TUTORIAL = "https://github.com/FlagOpen/FlagEmbedding Tutorials/1_Embedding/1.2.2_BGE_Explanation.ipynb"
M3 = "https://github.com/FlagOpen/FlagEmbedding research/BGE_M3/README.md"
GOLDEN = "https://github.com/huggingface/text-embeddings-inference backends/candle/tests/fixtures/m3_golden.json"
MODEL_CARD = "https://github.com/embeddings-benchmark/results external/STSBenchmark.json, from the model card"

CAPITAL = "What is the capital of France?"
PANDA = (
    ("what is panda?", "hi"),
    (
        "what is panda?",
        "The giant panda (Ailuropoda melanoleuca), sometimes called a panda bear or simply panda, is a bear species "
        "endemic to China.",
    ),
)
QUESTIONS = ("What is BGE M3?", "Defination of BM25")
ANSWERS = (
    "BGE M3 is an embedding model supporting dense retrieval, lexical matching and multi-vector interaction.",
    "BM25 is a bag-of-words retrieval function that ranks a set of documents based on the query terms appearing in "
    "each document",
)

# For figures that were made in fp32. Other kernels add numbers in another order. That changes an element of a vector by
# about 1e-6 and a logit by about 1e-4. These tolerances are those of the sources' own tests, or of the digits printed.
EXACT, EXACT_LOGIT = 1e-3, 2e-3
# For figures that were made in fp16. It rounds by up to 2**-11 of a number, with random sign, in each of about 100
# consecutive steps. Together that is half a percent: of a logit of 8, a cosine of 0.7 or a token's weight of 0.3.
HALF_LOGIT, HALF_COSINE, HALF_WEIGHT = 0.05, 3e-3, 3e-3
# For STS-B: fp32 gives the published figure to all its digits. On all-MiniLM-L6-v2, int8 loses 0.00 points; ONNX
# Runtime's own quantisation loses 0.23, and must not pass.
STSB_EXACT, STSB_INT8 = 0.02, 0.2


def head(model: str, *numbers: float) -> VectorHead:
    return VectorHead(model=model, expected=numbers, within=EXACT, source=FASTEMBED)


def logits(*probabilities: float) -> tuple[float, ...]:
    """Return the inverse of the sigmoid, for sources that publish its values."""
    return tuple(math.log(p / (1 - p)) for p in probabilities)


FIGURES: tuple[Figure, ...] = (
    head("bge-small-en-v1.5", 0.01522374, -0.02271799, 0.00860278, -0.07424029, 0.00386434),
    head("bge-base-en-v1.5", 0.01129394, 0.05493144, 0.02615099, 0.00328772, 0.02996045),
    head("bge-large-en-v1.5", 0.03434538, 0.03316108, 0.02191251, -0.03713358, -0.01577825),
    head("bge-small-zh-v1.5", -0.01023294, 0.07634465, 0.0691722, -0.04458365, -0.03160762),
    head("bge-small-en", -0.0232, -0.0255, 0.0174, -0.0639, -0.0006),
    head("bge-base-en", 0.0115, 0.0372, 0.0295, 0.0121, 0.0346),
    Similarities(
        model="bge-base-en-v1.5",
        first=("embedding", "I love machine learning and nlp"),
        second=("embedding", "I love machine learning and nlp"),
        expected=((1, 0.6077381), (0.6077381, 1)),
        within=1e-4,
        source=TUTORIAL,
    ),
    StsB(model="bge-small-en-v1.5", expected=85.865, within=STSB_EXACT, source=MODEL_CARD),
    StsB(model="bge-base-en-v1.5", expected=86.419, within=STSB_EXACT, source=MODEL_CARD),
    StsB(model="bge-small-en-v1.5", precision="int8", expected=85.865, within=STSB_INT8, source=MODEL_CARD),
    StsB(model="bge-base-en-v1.5", precision="int8", expected=86.419, within=STSB_INT8, source=MODEL_CARD),
    Scores(
        model="bge-reranker-base",
        pairs=((CAPITAL, "Paris is the capital of France."), (CAPITAL, "Berlin is the capital of Germany.")),
        expected=(6.15733337, -3.65939403),
        within=EXACT_LOGIT,
        source=FASTEMBED_RERANKERS,
    ),
    Scores(
        model="bge-reranker-large",
        pairs=tuple(
            (CAPITAL, document)
            for document in (
                "The capital of France is Paris.",
                "France is a country in Western Europe with about 68 million inhabitants.",
                "France moved its seat of government several times in its history.",
                "Berlin is the capital of Germany.",
                "The IBM Spyre accelerator runs AI inference workloads.",
            )
        ),
        expected=logits(0.99946493, 0.0866667, 0.00186743, 0.0005165, 7.623e-05),
        within=EXACT_LOGIT,
        source=SPYRE,
    ),
    Scores(
        model="bge-reranker-large",
        pairs=(("query", "passage"), *PANDA),
        expected=(-1.5263671875, -5.60546875, 5.76171875),
        within=HALF_LOGIT,
        source=INFERENCE,
    ),
    Scores(
        model="bge-reranker-v2-m3",
        pairs=tuple(
            (CAPITAL, document)
            for document in (
                "The capital of France is Paris.",
                "Paris is the largest city in France by population.",
                "The Eiffel Tower stands on the Champ de Mars in Paris.",
                "France is a country in Western Europe with about 68 million inhabitants.",
                "Berlin is the capital of Germany.",
                "The IBM Spyre accelerator runs AI inference workloads.",
            )
        ),
        expected=logits(0.99996591, 0.9614659, 0.59719944, 0.04726163, 0.00421512, 1.604e-05),
        within=EXACT_LOGIT,
        source=SPYRE,
    ),
    Scores(
        model="bge-reranker-v2-m3",
        pairs=(("query", "passage"), *PANDA),
        expected=(-5.65234375, -8.1875, 5.26171875),
        within=HALF_LOGIT,
        source=INFERENCE,
    ),
    Similarities(
        model="bge-m3",
        first=QUESTIONS,
        second=ANSWERS,
        expected=((0.6265, 0.3477), (0.3499, 0.678)),
        within=HALF_COSINE,
        source=M3,
    ),
    LexicalWeights(
        model="bge-m3",
        text=QUESTIONS[0],
        expected={"What": 0.08356, "is": 0.0814, "B": 0.1296, "GE": 0.252, "M": 0.1702, "3": 0.2695, "?": 0.04092},
        within=HALF_WEIGHT,
        source=M3,
    ),
    LexicalWeights(
        model="bge-m3",
        text=QUESTIONS[1],
        expected={"De": 0.05005, "fin": 0.1368, "ation": 0.04498, "of": 0.0633, "BM": 0.2515, "25": 0.3335},
        within=HALF_WEIGHT,
        source=M3,
    ),
    LexicalScores(
        model="bge-m3",
        first=QUESTIONS,
        second=ANSWERS,
        expected=((0.195556640625, 0.00879669189453125), (0, 0.1802978515625)),
        within=HALF_WEIGHT,
        source=M3,
    ),
    MultiVectorScores(
        model="bge-m3",
        first=QUESTIONS,
        second=ANSWERS,
        expected=((0.7796499729156494, 0.4621465802192688), (0.4523794651031494, 0.7898575067520142)),
        within=HALF_COSINE,
        source=M3,
    ),
    VectorHead(
        model="bge-m3",
        text="What is machine learning?",
        expected=(-0.0461210385, -0.0218645763, -0.0310056042, -0.0031164850, 0.0089967484),
        within=EXACT,
        source=GOLDEN,
    ),
    LexicalWeights(
        model="bge-m3",
        text="What is machine learning?",
        expected={4865: 0.1462940872, 83: 0.1583902389, 36279: 0.2695490122, 52080: 0.3343187869, 32: 0.0895769671},
        within=EXACT,
        source=GOLDEN,
    ),
    VectorHead(
        model="bge-m3",
        text="Кузьма — корпоративный ассистент на Go.",
        expected=(-0.0274941493, -0.0117448559, -0.0176405758, -0.0357274376, -0.0043984829),
        within=EXACT,
        source=GOLDEN,
    ),
)
