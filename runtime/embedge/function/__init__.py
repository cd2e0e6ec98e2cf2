"""What the entries of ``embedge.serverless`` share: load the model, read a request, answer it.

``load`` opens the model that the environment names. ``answer`` checks a request and calls the model. ``reply`` turns
errors into statuses. ``event`` reads and writes what AWS Lambda passes, and ``server`` is the container's HTTP server.
"""
