"""Ray Data: real jobs on a local Ray of two CPUs. tests/examples/test_embed_parquet.py kills one and resumes it."""

import gc
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ray = pytest.importorskip("ray", reason="needs Ray: pip install 'embedge[ray]'")
pytest.importorskip("ray.data", reason="needs Ray Data: pip install 'embedge[ray]'")

import pyarrow as pa  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402

from embedge import Bundle, Embedder, InputValueError, Reranker  # noqa: E402
from embedge.integrations.ray import RerankBatches, SparseBatches, embed_dataset  # noqa: E402
from embedge.integrations.ray.resources import share  # noqa: E402
from embedge.integrations.ray.resume import checkpoint_config  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own
TEXTS = [f"Loaf {index} needs {'yeast and ' * (index % 7)}flour." for index in range(600)]
TEXTS[17] = "dough " * 600
MEMORY = 300_000_000


@pytest.fixture(scope="module")
def started() -> Iterator[None]:
    """Two CPUs, as many as a small machine has, however many this one has."""
    ray.init(num_cpus=2, object_store_memory=MEMORY, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.fixture
def cluster(started: None) -> None:
    """Both CPUs are free: a job that failed keeps its actors until its exception is gone, and pytest keeps that."""
    end = time.monotonic() + 60
    while ray.available_resources().get("CPU") != 2:
        assert time.monotonic() < end, "the CPUs of the last test's job are not free"
        gc.collect()
        time.sleep(0.1)


@pytest.fixture
def source(tmp_path: Path) -> str:
    """Three files of 200 rows."""
    folder = tmp_path / "documents"
    folder.mkdir()
    for part in range(3):
        rows = range(part * 200, part * 200 + 200)
        pq.write_table(
            pa.table({"id": list(rows), "text": TEXTS[part * 200 : part * 200 + 200]}), folder / f"{part}.parquet"
        )
    return str(folder)


def vectors_by_id(rows: Any) -> Any:
    rows = rows.sort_by("id")
    assert rows.column("id").to_pylist() == list(range(len(TEXTS)))
    column = rows.column("embedding").combine_chunks()
    return column.flatten().to_numpy().reshape(len(rows), -1)


@pytest.mark.usefixtures("cluster")
def test_a_job_on_every_cpu_gives_the_vectors_of_encode(tiny_bundle: Bundle, source: str, tmp_path: Path) -> None:
    """As many actors as CPUs, which must leave some for Ray's tasks; from Parquet to Parquet."""
    ds = embed_dataset(ray.data.read_parquet(source), tiny_bundle.path, block_rows=100)
    ds.write_parquet(str(tmp_path / "vectors"))
    rows = pq.read_table(tmp_path / "vectors")
    dimension = tiny_bundle.manifest.dimension
    assert rows.schema.field("embedding").type == pa.list_(pa.field("element", pa.float32()), dimension)
    assert rows.schema.names == ["id", "text", "embedding", "truncated"]
    assert np.array_equal(vectors_by_id(rows), Embedder(tiny_bundle.path).encode(TEXTS, on_truncate="ignore"))
    assert rows.sort_by("id").column("truncated").to_pylist() == [index == 17 for index in range(600)]
    assert len(list((tmp_path / "vectors").glob("*.parquet"))) == 6  # a file for each block


@pytest.mark.usefixtures("cluster")
def test_the_code_in_the_docstring_runs(tiny_bundle: Bundle, source: str, tmp_path: Path) -> None:
    """With paths that are here in the place of its names, and one actor for 15, as there are two CPUs."""
    text = import_module("embedge.integrations.ray").__doc__ or ""
    code = "\n".join(line[4:] for line in text.splitlines() if line.startswith("    ") or not line)
    for old, new in {
        "bge-small-en-v1.5": str(tiny_bundle.path),
        "/mnt/checkpoint": str(tmp_path / "checkpoint"),
        "/mnt/documents": source,
        "/mnt/vectors": str(tmp_path / "vectors"),
        "size=15": "size=1",
        "ds.map_batches": f"mapped = ray.data.read_parquet({source!r}).map_batches",
    }.items():
        assert old in code
        code = code.replace(old, new)
    names: dict[str, Any] = {}
    exec(code, names)
    mapped = pa.concat_tables(ray.get(names["mapped"].to_arrow_refs()))
    assert np.array_equal(vectors_by_id(mapped), vectors_by_id(pq.read_table(tmp_path / "vectors")))
    assert list((tmp_path / "checkpoint").iterdir())


@pytest.mark.usefixtures("cluster")
def test_scores_and_options_reach_the_actors(reranker: Reranker) -> None:
    pairs = [("How do I bake?", text) for text in TEXTS[:40]]
    ds = ray.data.from_arrow(pa.table({"query": [q for q, _ in pairs], "text": [t for _, t in pairs]}))
    job = embed_dataset(
        ds, reranker.bundle.path, cpus=1, batches=RerankBatches, options={"normalize": True, "output_column": "s"}
    )
    rows = pa.concat_tables(ray.get(job.to_arrow_refs()))
    expected = reranker.score(pairs, normalize=True, on_truncate="ignore")
    assert dict(zip(rows["text"].to_pylist(), rows["s"].to_numpy(), strict=True)) == dict(
        zip(TEXTS[:40], expected, strict=True)
    )


@pytest.mark.usefixtures("cluster")
def test_lexical_weights_are_a_column(export: Callable[..., Bundle], tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="needs torch, which writes the heads of a bge-m3")
    from seeded_roberta import write_roberta

    bundle = export(write_roberta(tmp_path / "tiny-m3", rerank=False), tmp_path / "m3", verify=False)
    ds = ray.data.from_arrow(pa.table({"text": TEXTS[:20]}))
    job = embed_dataset(ds, bundle.path, cpus=1, batches=SparseBatches, options={"on_truncate": "ignore"})
    rows = pa.concat_tables(ray.get(job.to_arrow_refs())).to_pylist()
    model = Embedder(bundle.path)
    for row in rows:
        expected = model.encode_sparse(row["text"], on_truncate="ignore")
        assert row["sparse"]["indices"] == expected.indices.tolist()
        assert np.array_equal(np.array(row["sparse"]["values"], np.float32), expected.values)


INVALID = pytest.mark.parametrize(("last", "found"), [(None, "null"), (5, "int 5")])


def three_rows(last: object) -> Any:
    """Ray makes a column of Python objects of a list that mixes strings and numbers."""
    items = [{"id": name, "text": text} for name, text in zip("abc", ["one", "two", last], strict=True)]
    return ray.data.from_items(items, override_num_blocks=1)


@pytest.mark.usefixtures("cluster")
@INVALID
def test_a_row_without_a_text_is_named(tiny_bundle: Bundle, last: object, found: str) -> None:
    message = rf"column 'text' must hold strings, found {found} in row 2 of the batch \(id='c'\)"
    with pytest.raises(Exception, match=message):
        embed_dataset(three_rows(last), tiny_bundle.path, cpus=1, id_column="id").materialize()


@pytest.mark.usefixtures("cluster")
@INVALID
def test_a_row_without_a_text_is_null_where_that_is_asked_for(tiny_bundle: Bundle, last: object, found: str) -> None:
    job = embed_dataset(three_rows(last), tiny_bundle.path, cpus=1, options={"on_invalid": "null"})
    rows = {row["id"]: row["embedding"] for row in pa.concat_tables(ray.get(job.to_arrow_refs())).to_pylist()}
    assert rows["c"] is None, found
    expected = Embedder(tiny_bundle.path).encode(["one", "two"])
    assert np.array_equal(np.array([rows["a"], rows["b"]], np.float32), expected)


@pytest.mark.usefixtures("cluster")
def test_more_actors_than_cpus_and_a_checkpoint_without_ids_are_errors(tmp_path: Path) -> None:
    ds = ray.data.range(3)
    with pytest.raises(InputValueError, match="cpus must be at most the cluster's 2, found 3; start more nodes"):
        embed_dataset(ds, "bge-small-en-v1.5", cpus=3)
    with pytest.raises(InputValueError, match="gpus must be at most the cluster's 0, found 1"):
        embed_dataset(ds, "bge-small-en-v1.5", gpus=1)
    with pytest.raises(InputValueError, match="found both cpus and gpus; pass one of them"):
        embed_dataset(ds, "bge-small-en-v1.5", cpus=1, gpus=1)
    with pytest.raises(InputValueError, match="needs the column of the rows' ids, found none; pass id_column='id'"):
        embed_dataset(ds, "bge-small-en-v1.5", checkpoint=tmp_path)


def test_an_actor_reserves_what_leaves_cpus_for_rays_tasks() -> None:
    for cpus in range(1, 65):
        for actors in range(1, cpus + 1):
            for spare in (1, 2):
                left = cpus - actors * share(cpus, actors, spare=spare)
                assert left >= min(spare, cpus) - 1e-9


def test_the_options_of_the_filter_are_rays(tmp_path: Path) -> None:
    """Attributes that Ray's constructor lacks: under other names, setting them would do nothing."""
    given, own = (
        vars(config)
        for config in (
            checkpoint_config(tmp_path, "id"),
            import_module("ray.data.checkpoint").CheckpointConfig("id", str(tmp_path)),
        )
    )
    assert given.keys() == own.keys()
    assert {name for name, value in given.items() if value != own[name] and name != "filesystem"} == {
        "delete_checkpoint_on_success",
        "checkpoint_actor_pool_max_size",
        "checkpoint_actor_memory_bytes",
    }


STANDING = """
import threading, time, ray
from ray.data import ActorPoolStrategy
ray.init(num_cpus=2, object_store_memory=300_000_000, include_dashboard=False, log_to_driver=False)
class Same:
    def __call__(self, batch):
        return batch
ds = ray.data.read_parquet({source!r}).map_batches(Same, compute=ActorPoolStrategy(size=2), num_cpus={cpus})
job = threading.Thread(target=ds.materialize, daemon=True)
job.start()
full = 0
while job.is_alive() and full < 80:  # 20 seconds in which not a single CPU is free
    full = full + 1 if ray.available_resources().get("CPU", 0) == 0 else 0
    time.sleep(0.25)
print("stands still" if full == 80 else "ends", flush=True)
ray.shutdown()
"""


@pytest.mark.parametrize(("cpus", "outcome"), [("1", "stands still"), ("0.5", "ends")])
def test_a_pool_on_every_cpu_waits_for_its_own_input(source: str, cpus: str, outcome: str) -> None:
    """Why ``embed_dataset`` reserves less: Ray's task that lists the files finds no CPU. If this changes, so may we."""
    code = STANDING.format(source=source, cpus=cpus)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False)
    assert done.stdout.splitlines()[-1:] == [outcome], done.stderr[-2000:]
