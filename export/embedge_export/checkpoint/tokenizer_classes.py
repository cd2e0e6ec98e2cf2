"""transformers' tokenizer classes: the special tokens that they add to a tokenizer.json, and the settings they apply.

Source: transformers 4.57, models/*/tokenization_*_fast.py. tests/export/checkpoint/test_tokenizer_settings.py compares
every class here with the library's own.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from embedge.errors import CheckpointError

_BERT = {f"{name}_token": f"[{name.upper()}]" for name in ("unk", "sep", "pad", "cls", "mask")}
_ROBERTA = {
    "bos_token": "<s>",
    "eos_token": "</s>",
    "sep_token": "</s>",
    "cls_token": "<s>",
    "unk_token": "<unk>",
    "pad_token": "<pad>",
    "mask_token": "<mask>",
}
_ALBERT = {**_BERT, "bos_token": "[CLS]", "eos_token": "[SEP]", "unk_token": "<unk>", "pad_token": "<pad>"}
_XLNET = {**_ROBERTA, "sep_token": "<sep>", "cls_token": "<cls>"}


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerClass:
    """The behaviour of one tokenizer class.

    Attributes:
        special: its special tokens, by name, if the files state no others.
        additional: special tokens without a name.
        mask: flags of the mask token if the files state it as plain text; empty if it has no flags of its own.
        normalized: whether its other special tokens are matched in normalised text.
        sets_normalizer: whether it sets lowercase and strip_accents of a BertNormalizer.
        sets_cjk: whether it also sets handle_chinese_chars.
    """

    special: Mapping[str, str] = field(default_factory=dict)
    additional: tuple[str, ...] = ()
    mask: Mapping[str, bool] = field(default_factory=dict)
    normalized: bool = False
    sets_normalizer: bool = False
    sets_cjk: bool = False


# Flags of a mask token that stands for a word: it includes the space before it.
_WORD_MASK = {"lstrip": True, "normalized": True}
_RAW_WORD_MASK = {"lstrip": True, "normalized": False}
_BERT_CLASS = TokenizerClass(special=_BERT, sets_normalizer=True, sets_cjk=True)
_ROBERTA_CLASS = TokenizerClass(special=_ROBERTA, mask=_RAW_WORD_MASK)
# By class name, without the suffix "Fast" that some files write.
CLASSES: Mapping[str, TokenizerClass] = {
    **dict.fromkeys(
        (
            "BertTokenizer",
            "ConvBertTokenizer",
            "DPRContextEncoderTokenizer",
            "DPRQuestionEncoderTokenizer",
            "DistilBertTokenizer",
            "ElectraTokenizer",
            "LayoutLMTokenizer",
            "LxmertTokenizer",
            "MobileBertTokenizer",
            "RetriBertTokenizer",
            "SqueezeBertTokenizer",
        ),
        _BERT_CLASS,
    ),
    "MPNetTokenizer": TokenizerClass(
        special={**_ROBERTA, "unk_token": "[UNK]"}, mask=_WORD_MASK, normalized=True, sets_normalizer=True
    ),
    "RobertaTokenizer": _ROBERTA_CLASS,
    "LongformerTokenizer": _ROBERTA_CLASS,
    "BartTokenizer": TokenizerClass(special=_ROBERTA, mask=_WORD_MASK),
    "XLMRobertaTokenizer": TokenizerClass(special=_ROBERTA, mask=_WORD_MASK),
    "CamembertTokenizer": TokenizerClass(
        special=_ROBERTA, additional=("<s>NOTUSED", "</s>NOTUSED", "<unk>NOTUSED"), mask=_RAW_WORD_MASK
    ),
    "AlbertTokenizer": TokenizerClass(special=_ALBERT, mask=_RAW_WORD_MASK),
    "RemBertTokenizer": TokenizerClass(special=_ALBERT, mask=_WORD_MASK),
    "BigBirdTokenizer": TokenizerClass(
        special={**_ALBERT, "bos_token": "<s>", "eos_token": "</s>"}, mask=_WORD_MASK, normalized=True
    ),
    "HerbertTokenizer": TokenizerClass(
        special={key: token for key, token in _ROBERTA.items() if key not in ("bos_token", "eos_token")}
    ),
    "XLNetTokenizer": TokenizerClass(special=_XLNET, additional=("<eop>", "<eod>"), mask=_WORD_MASK),
    "DebertaTokenizer": TokenizerClass(special={**_BERT, "bos_token": "[CLS]", "eos_token": "[SEP]"}),
    "DebertaV2Tokenizer": TokenizerClass(special={**_BERT, "bos_token": "[CLS]", "eos_token": "[SEP]"}),
    "PreTrainedTokenizer": TokenizerClass(),
    "TokenizersBackend": TokenizerClass(),  # PreTrainedTokenizer's name in transformers 5
}
# The class of a checkpoint that states none, by the model_type in config.json (models/auto/tokenization_auto.py).
_BY_MODEL: Mapping[str, str] = {
    "albert": "AlbertTokenizer",
    "bert": "BertTokenizer",
    "big_bird": "BigBirdTokenizer",
    "camembert": "CamembertTokenizer",
    "convbert": "ConvBertTokenizer",
    "data2vec-text": "RobertaTokenizer",
    "deberta": "DebertaTokenizer",
    "deberta-v2": "DebertaV2Tokenizer",
    "distilbert": "DistilBertTokenizer",
    "electra": "ElectraTokenizer",
    "ibert": "RobertaTokenizer",
    "longformer": "LongformerTokenizer",
    "mobilebert": "MobileBertTokenizer",
    "modernbert": "PreTrainedTokenizer",
    "mpnet": "MPNetTokenizer",
    "nystromformer": "AlbertTokenizer",
    "rembert": "RemBertTokenizer",
    "roberta": "RobertaTokenizer",
    "roberta-prelayernorm": "RobertaTokenizer",
    "squeezebert": "SqueezeBertTokenizer",
    "xlm-roberta": "XLMRobertaTokenizer",
    "xlm-roberta-xl": "XLMRobertaTokenizer",
    "xlnet": "XLNetTokenizer",
    "xmod": "XLMRobertaTokenizer",
}


def tokenizer_class(settings: Mapping[str, Any], config: Mapping[str, Any], *, where: object) -> TokenizerClass:
    """Return the class that transformers' ``AutoTokenizer`` chooses.

    Args:
        settings: tokenizer_config.json.
        config: config.json.
        where: the folder, for messages.

    Raises:
        CheckpointError: the class is not known here.
    """
    name = (
        settings.get("tokenizer_class") or config.get("tokenizer_class") or _BY_MODEL.get(str(config.get("model_type")))
    )
    kind = CLASSES.get(str(name).removesuffix("Fast"))
    if kind is None:
        raise CheckpointError(
            f"{where} has the tokenizer class {name}, and embedge does not know how that changes tokenizer.json; if it "
            'changes nothing, set "tokenizer_class": "PreTrainedTokenizerFast" in tokenizer_config.json'
        )
    return kind
