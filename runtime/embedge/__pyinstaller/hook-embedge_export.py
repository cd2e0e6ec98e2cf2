"""What an application that exports checkpoints needs, beside what PyInstaller finds by following imports."""

from PyInstaller.utils.hooks import collect_data_files, collect_submodules, copy_metadata

# The runtime finds the exporter by its entry point.
datas = [*collect_data_files("embedge_export"), *collect_data_files("embedge_models"), *copy_metadata("embedge")]
hiddenimports = ["embedge_export.exporter", "embedge_models", *collect_submodules("embedge_export.command")]
