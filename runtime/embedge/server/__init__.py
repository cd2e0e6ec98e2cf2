"""The HTTP server of `embedge serve`: one process, several models, the routes that existing clients call.

A request passes these modules in this order. ``connection`` limits how long a client may take to send a request.
``gate`` checks the host and the origin (``origin``), compares the API key, counts the request, and turns an unexpected
error into a status. ``app`` has the table of routes. ``endpoint`` reads the body within the limits (``body``,
``large_json``, ``limits``) and runs the answer until the client goes away (``disconnect``). The APIs are ``openai``,
``tei`` (text-embeddings-inference and Hugging Face), ``ollama`` and ``cohere``. Each reads its own fields (``fields``),
asks a model (``served``, ``calls``), and writes its own answer (``numbers``) and its own errors (``request_error``).
``process`` runs the server on a socket (``address``), and ``supervisor`` starts another process if it dies.
"""
