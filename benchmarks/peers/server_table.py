"""The table of the servers."""

from benchmarks.peers.table import OWN, Peer, choose, fused_peer

_TORCH = "torch==2.13.0"
# What infinity-emb 0.0.78, the newest, starts with: it was written for click 8.1 and the optimum of its time.
_INFINITY = (_TORCH, "infinity-emb[server,torch]==0.0.78", "click==8.1.8", "typer==0.12.5", "transformers==4.57.6")
_ONNX = ("infinity-emb[optimum]==0.0.78", "optimum==2.1.0", "optimum-onnx==0.1.0", "numpy==1.26.4")
_QUIET = (("DO_NOT_TRACK", "1"), ("INFINITY_ANONYMOUS_USAGE_STATS", "0"))  # it reports each start to a host otherwise
_OPTIMUM = ("optimum.exporters.onnx", "torch")

SERVER_PEERS: tuple[Peer, ...] = (
    *choose([OWN]),
    fused_peer(),
    Peer(
        module="infinity",
        variant="torch",
        about="infinity-emb, torch in float32",
        environment=_INFINITY + _ONNX,
        variables=_QUIET,
    ),
    *(
        Peer(
            module="infinity",
            variant=variant,
            about=f"infinity-emb, {graph}, ONNX Runtime",
            needs=_OPTIMUM,
            environment=_INFINITY + _ONNX,
            variables=_QUIET,
        )
        for variant, graph in (("onnx-fp32", "optimum's graph"), ("onnx-int8", "the graph of stock-int8-channel"))
    ),
    Peer(
        module="llama_server",
        variant="q8-0",
        about="llama-cpp-python's server, compiled for this processor, Q8_0",
        needs=("gguf",),
        environment=("llama-cpp-python[server]==0.3.36",),
    ),
)
