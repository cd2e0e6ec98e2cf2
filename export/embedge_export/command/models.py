"""`embedge models`: the recipes, and which of them are in the cache."""

import click


@click.command()
def models() -> None:
    """List the models that embedge has recipes for.

    A recipe is what embedge knows of a model: its commit on the Hugging Face Hub, its pooling and its prompts. The
    models are listed by task and language, the smallest first. INT8 is the size of the int8 graph, and CACHED are the
    precisions in the cache. Below them are other cached bundles. You can also export any other BERT or RoBERTa
    model by its Hugging Face Hub id or directory.
    """
    from embedge_export.command.models_table import models_table

    for line in models_table():
        click.echo(line)
