"""cpu.py: affinity and cgroup quotas, on folders shaped like the kernel's."""

from pathlib import Path

import pytest

from embedge.inference import cpu


def group(tmp_path: Path, line: str, **files: str) -> tuple[Path, Path]:
    """A cgroup mount and a /proc/self/cgroup; keys of ``files`` are paths with __ for /."""
    for name, text in files.items():
        path = tmp_path / "cgroup" / name.replace("__", "/").replace("cpu_", "cpu.")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "self").write_text(line)
    return tmp_path / "cgroup", tmp_path / "self"


def test_v2_tightest_of_the_group_and_its_parents(tmp_path: Path) -> None:
    files = {"a__b__cpu_max": "max 100000\n", "a__cpu_max": "150000 100000\n", "cpu_max": "400000 100000\n"}
    assert cpu.cgroup_quota(*group(tmp_path, "0::/a/b\n", **files)) == 1.5


def test_v2_in_a_container_sees_the_mount_itself(tmp_path: Path) -> None:
    assert cpu.cgroup_quota(*group(tmp_path, "0::/not/mounted/here\n", cpu_max="50000 100000")) == 0.5


def test_v1(tmp_path: Path) -> None:
    files = {"cpu__a__cpu_cfs_quota_us": "200000\n", "cpu__a__cpu_cfs_period_us": "100000\n"}
    assert cpu.cgroup_quota(*group(tmp_path, "3:cpu,cpuacct:/a\n2:memory:/a\n", **files)) == 2


def test_no_limit(tmp_path: Path) -> None:
    assert cpu.cgroup_quota(*group(tmp_path, "0::/\n", cpu_max="max 100000")) is None
    assert cpu.cgroup_quota(tmp_path, tmp_path / "absent") is None


def test_half_a_core_is_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "cgroup_quota", lambda: 0.5)
    assert cpu.usable_cores() == 1


@pytest.mark.parametrize(
    ("machine", "words", "expected"),
    [
        (
            "x86_64",  # Sapphire Rapids, of what Linux names; Zen 5 and Haswell
            {"avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_bf16", "amx_tile", "amx_int8"},
            ("AVX2", "AVX-512", "AVX-512 VNNI", "AVX-VNNI", "AMX"),
        ),
        ("AMD64", {"avx2", "avx512f", "avx512_vnni", "avx_vnni"}, ("AVX2", "AVX-512", "AVX-512 VNNI", "AVX-VNNI")),
        ("x86_64", {"avx", "avx2"}, ("AVX2",)),
        ("aarch64", {"asimd", "asimddp", "i8mm"}, ("dotprod", "i8mm")),
        ("aarch64", {"asimd"}, ()),
    ],
)
def test_the_instructions_for_int8_are_named(
    monkeypatch: pytest.MonkeyPatch, machine: str, words: set[str], expected: tuple[str, ...]
) -> None:
    monkeypatch.setattr("platform.machine", lambda: machine)
    monkeypatch.setattr(cpu, "_feature_words", lambda: words)
    assert cpu.features() == expected
