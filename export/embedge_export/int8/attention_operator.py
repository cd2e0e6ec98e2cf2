"""Choose the attention operator of an int8 graph by the length of the texts, in batches without padding.

1. ``Attention`` of ONNX opset 23 is faster on short texts: 147 against 263 microseconds on 16 texts of 16 tokens. It
   holds all scores in memory at once (heads x tokens x tokens), which is 4 GB for a text of 8,192 tokens. ONNX Runtime
   has the operator since version 1.23.
2. ``MultiHeadAttention`` (com.microsoft) computes the scores block by block (FlashAttention: Dao et al.,
   arXiv:2205.14135), so its memory grows linearly with the number of tokens. From about 200 tokens on, it is as fast.
"""

from onnx import GraphProto, NodeProto, TensorProto, helper

LONG_TEXT = 256  # tokens; from this length on, operator 2 is used


def use_onnx_attention(choice: NodeProto) -> None:
    """Use operator 1 for batches of any length without padding.

    Args:
        choice: the ``If`` between attention without a mask and attention with one; it is changed.
    """
    node = _unmasked_node(choice)
    node.CopyFrom(_onnx_attention(node, node.output[0]))


def choose_by_length(choice: NodeProto, is_short: str) -> None:
    """Use operator 1 for short texts without padding, and operator 2 for others.

    An ``If`` costs some microseconds. The one for short texts is the outer one, so a short text runs only one ``If``.

    Args:
        choice: the ``If`` between attention without a mask and attention with one; it is changed.
        is_short: the name of a tensor in the outer graph, bool [1]: true if the texts are short and without padding.
    """
    others, output = NodeProto(), choice.output[0]
    others.CopyFrom(choice)
    others.name, others.output[0] = f"{choice.name}.others", f"{output}.others"
    short = _onnx_attention(_unmasked_node(choice), f"{output}.short")
    branches = {"then_branch": _branch(short), "else_branch": _branch(others)}
    choice.CopyFrom(helper.make_node("If", [is_short], [output], name=choice.name, **branches))


def _unmasked_node(choice: NodeProto) -> NodeProto:
    """Return the attention node without a mask."""
    (branch,) = (attribute.g for attribute in choice.attribute if attribute.name == "then_branch")
    node: NodeProto = branch.node[0]
    return node


def _onnx_attention(node: NodeProto, output: str) -> NodeProto:
    """Return operator 1 with the inputs and heads of a ``MultiHeadAttention`` node."""
    heads = node.attribute[0].i
    return helper.make_node("Attention", node.input, [output], name=output, q_num_heads=heads, kv_num_heads=heads)


def _branch(node: NodeProto) -> GraphProto:
    """Return a branch of an ``If`` that is this one node."""
    output = helper.make_tensor_value_info(node.output[0], TensorProto.FLOAT, [None, None, None])
    return helper.make_graph([node], node.name, [], [output])
