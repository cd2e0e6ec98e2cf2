"""The exporter's subcommands of `embedge`."""
