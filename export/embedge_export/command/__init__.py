"""The exporter's subcommands of `embedge`: export, demo and models. ``embedge.command.main`` lists all subcommands."""
