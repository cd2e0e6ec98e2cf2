"""What PyInstaller does not find by following the imports of embedge."""

from importlib.metadata import PackageNotFoundError, distribution

from PyInstaller.utils.hooks import collect_data_files, collect_dynamic_libs, copy_metadata

from embedge.inference.device.onnxruntime_packages import NAMES


def _is_installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True


# The graphs that pool on a GPU.
datas = collect_data_files("embedge", includes=["**/*.onnx"])
# The library of the kernels, which ONNX Runtime loads by its path.
binaries = collect_dynamic_libs("embedge_kernels") if _is_installed("embedge-kernels") else []
# Errors about providers, and `embedge info`, ask which build of ONNX Runtime is installed.
for name in filter(_is_installed, (*NAMES, "tokenizers", "numpy")):
    datas += copy_metadata(name)

# An application that only embeds has no use for the exporter. One that exports imports it itself.
excludedimports = ["embedge_export", "embedge_models"]
