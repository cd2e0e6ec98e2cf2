"""The kinds of attack, by name."""

from campaign import command, configs, damage, encode, graphs, hub, kills, manifests, pickles, tokenizer_files
from campaign.trial import Kind

_ALL = (
    Kind("damage", damage.trial, share=10, limit=8),
    Kind("manifest", manifests.trial, share=8),
    Kind("graphs", graphs.trial, share=10),
    Kind("tokenizers", tokenizer_files.trial, share=12),
    Kind("encode", encode.trial, share=16),
    Kind("long", encode.long_trial, share=4, limit=60),
    Kind("kills", kills.trial, share=10, limit=90),
    Kind("configs", configs.trial, share=10),
    Kind("peers", configs.peer_trial, share=5, limit=60),
    Kind("pickles", pickles.trial, share=6),
    Kind("hub", hub.trial, share=8, limit=30),
    Kind("command", command.trial, share=12, limit=40),
)
KINDS = {kind.name: kind for kind in _ALL}
NEEDED = {"peers": "sentence_transformers"}  # packages in addition to those of the exporter
