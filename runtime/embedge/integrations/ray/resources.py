"""How many actors a cluster has room for, and the share of a CPU that each reserves.

A pool of actors never gives its CPUs back, and Ray's tasks that list, read and write files reserve one CPU each. So a
pool that reserves every CPU waits for its first row forever: on ``ray.init(num_cpus=2)``, two actors of one CPU each
stand still. Ray logs "Active & requested resources: 3/2 CPU" and no error. A resumed job has one more actor, of Ray's
own, which leaves out the rows that are written; it reserves a CPU, too.

The number is only what Ray counts with. It binds no actor to a core, and those tasks take far less time than a model.
So each actor reserves a little less than a CPU, and one CPU of each node (two, with a checkpoint) is left for them.
"""

from __future__ import annotations

from math import floor

from embedge.errors import InputValueError
from embedge.inference.options import check_count
from embedge.integrations.extra import needs_extra

with needs_extra("ray"):
    import ray


def count_resource(kind: str, wanted: int | None) -> int:
    """Return how many actors to start: ``wanted``, or as many as the cluster has of ``"CPU"`` or ``"GPU"``.

    Raises:
        InputTypeError: ``wanted`` is not an integer.
        InputValueError: it is below 1, or above what the cluster has.
    """
    name = f"{kind.lower()}s"
    there = int(sum(_nodes(kind)))
    count = check_count(name, wanted) or there
    if not 1 <= count <= there:
        raise InputValueError(f"{name} must be at most the cluster's {there}, found {count}; start more nodes first")
    return count


def cpus_of_an_actor(actors: int, *, resumes: bool) -> float:
    """Return the CPUs that each actor reserves, 0 to 1, so that Ray's own tasks find some on every node."""
    smallest = min(_nodes("CPU"), default=1.0)
    return share(smallest, actors, spare=2 if resumes else 1)


def share(cpus: float, actors: int, *, spare: int) -> float:
    """Return the CPUs for each actor of a node that leave ``spare`` of its ``cpus``.

    >>> [share(2, 2, spare=1), share(2, 1, spare=1), share(2, 2, spare=2), share(16, 16, spare=1), share(1, 1, spare=1)]
    [0.5, 1.0, 0.0, 0.93, 0.0]
    """
    free = max(0.0, cpus - spare) / max(1.0, min(actors, cpus))
    return floor(min(1.0, free) * 100) / 100


def _nodes(kind: str) -> list[float]:
    """The number of CPUs or GPUs of each node that has some."""
    numbers = [node["Resources"].get(kind, 0.0) for node in ray.nodes() if node["Alive"]]
    return [number for number in numbers if number]
