"""What one request, and all requests together, may take."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits of a server, each an option of `embedge serve`.

    Attributes:
        body_bytes: bytes of one body. 16 MiB are 8,192 bytes for each of 2,048 texts, four times what 512 tokens of
            English take.
        texts: texts of one request; 2,048 as in OpenAI's API.
        characters: characters of a text that are read; the rest counts as truncated. The model reads fewer in any case.
        request_seconds: time for one request, from its last byte to its answer.
        receive_seconds: time for a client to send the head of a request, and again to send its body.
        all_body_bytes: bytes of all bodies that are in memory at once.
        waiting_texts: texts that wait for a core; a request beyond it gets 429.
        waiting_tokens: tokens of these texts; 262,144 are what two cores embed with bge-small in 15 seconds.
    """

    body_bytes: int = 16 << 20
    texts: int = 2048
    characters: int = 1_000_000
    request_seconds: float = 60
    receive_seconds: float = 30
    all_body_bytes: int = 256 << 20
    waiting_texts: int = 4096
    waiting_tokens: int = 262_144
