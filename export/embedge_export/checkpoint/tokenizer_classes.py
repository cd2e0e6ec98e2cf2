"""What transformers' tokenizer classes make of a tokenizer.json: special tokens, and the settings that they apply.

Source: transformers 4.57, models/*/tokenization_*_fast.py. tests/export/checkpoint/test_tokenizer_settings.py holds
every class here to the library's own.
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
    """One class.

    Attributes:
        special: its special tokens where the files name no others; a name for what stands for it.
        additional: more of them.
        mask: flags of the mask token where it is given as plain text; others are plain, too, where this is empty.
        normalized: whether its other special tokens are looked for in normalised text.
        sets_normalizer: whether it sets lowercase and strip_accents of a BertNormalizer.
        sets_cjk: whether it sets handle_chinese_chars, too.
    """

    special: Mapping[str, str] = field(default_factory=dict)
    additional: tuple[str, ...] = ()
    mask: Mapping[str, bool] = field(default_factory=dict)
    normalized: bool = False
    sets_normalizer: bool = False
    sets_cjk: bool = False


_WORD = {
    "lstrip": True,
    "normalized": True,
}  # the mask of a class that treats it as a word: the blank before is its own
_RAW_WORD = {"lstrip": True, "normalized": False}
_OF_BERT = TokenizerClass(special=_BERT, sets_normalizer=True, sets_cjk=True)
_OF_ROBERTA = TokenizerClass(special=_ROBERTA, mask=_RAW_WORD)
# By name, without the "Fast" that some files write.
_CLASSES: Mapping[str, TokenizerClass] = {
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
        _OF_BERT,
    ),
    "MPNetTokenizer": TokenizerClass(
        special={**_ROBERTA, "unk_token": "[UNK]"}, mask=_WORD, normalized=True, sets_normalizer=True
    ),
    "RobertaTokenizer": _OF_ROBERTA,
    "LongformerTokenizer": _OF_ROBERTA,
    "BartTokenizer": TokenizerClass(special=_ROBERTA, mask=_WORD),
    "XLMRobertaTokenizer": TokenizerClass(special=_ROBERTA, mask=_WORD),
    "CamembertTokenizer": TokenizerClass(
        special=_ROBERTA, additional=("<s>NOTUSED", "</s>NOTUSED", "<unk>NOTUSED"), mask=_RAW_WORD
    ),
    "AlbertTokenizer": TokenizerClass(special=_ALBERT, mask=_RAW_WORD),
    "RemBertTokenizer": TokenizerClass(special=_ALBERT, mask=_WORD),
    "BigBirdTokenizer": TokenizerClass(
        special={**_ALBERT, "bos_token": "<s>", "eos_token": "</s>"}, mask=_WORD, normalized=True
    ),
    "HerbertTokenizer": TokenizerClass(
        special={key: token for key, token in _ROBERTA.items() if key not in ("bos_token", "eos_token")}
    ),
    "XLNetTokenizer": TokenizerClass(special=_XLNET, additional=("<eop>", "<eod>"), mask=_WORD),
    "DebertaTokenizer": TokenizerClass(special={**_BERT, "bos_token": "[CLS]", "eos_token": "[SEP]"}),
    "DebertaV2Tokenizer": TokenizerClass(special={**_BERT, "bos_token": "[CLS]", "eos_token": "[SEP]"}),
    "PreTrainedTokenizer": TokenizerClass(),
    "TokenizersBackend": TokenizerClass(),  # the name of that one in transformers 5
}
# The class of a checkpoint that names none, by config.json's model_type (models/auto/tokenization_auto.py).
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
    """The class that transformers' ``AutoTokenizer`` takes.

    Args:
        settings: ``tokenizer_config.json``.
        config: ``config.json``.
        where: the folder, for messages.

    Raises:
        CheckpointError: it is not one of those here.
    """
    name = (
        settings.get("tokenizer_class") or config.get("tokenizer_class") or _BY_MODEL.get(str(config.get("model_type")))
    )
    found = _CLASSES.get(str(name).removesuffix("Fast"))
    if found is None:
        raise CheckpointError(
            f"{where} has the tokenizer class {name}, and what that makes of tokenizer.json is not known; if the file "
            'alone is right, set "tokenizer_class": "PreTrainedTokenizerFast" in tokenizer_config.json'
        )
    return found
