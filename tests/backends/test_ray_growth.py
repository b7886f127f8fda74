"""Which nodes a cluster's autoscaler is asked for."""

from orchestrator.backends.free_share import FreeShare
from orchestrator.backends.ray.growth import Need, growth_text, nodes_to_add

CPU = {"cpus": 4, "devices": 0, "memory_gib": 16.0}
GPU = {"cpus": 8, "devices": 1, "memory_gib": 64.0}
GPUS = {"cpus": 96, "devices": 8, "memory_gib": 512.0}
TYPES = {"cpu": CPU, "gpu": GPU, "gpus": GPUS}


def test_what_fits_on_living_hosts_asks_for_nothing() -> None:
    assert nodes_to_add([(Need(1, 0, 1.0), 4)], [FreeShare(4, 0, 16.0)], TYPES) == {}


def test_whole_nodes_of_the_smallest_type_that_holds_the_job() -> None:
    assert nodes_to_add([(Need(1, 0, 1.0), 5)], [], TYPES) == {"cpu": 2}
    assert nodes_to_add([(Need(1, 1, 1.0), 3)], [], TYPES) == {"gpu": 3}
    assert nodes_to_add([(Need(8, 4, 1.0), 2)], [], TYPES) == {"gpus": 1}
    assert nodes_to_add([(Need(1, 0, 100.0), 1)], [], TYPES) == {"gpus": 1}


def test_small_jobs_use_what_large_ones_leave() -> None:
    assert nodes_to_add([(Need(1, 0, 1.0), 7), (Need(1, 1, 1.0), 1)], [], TYPES) == {"gpu": 1}


def test_a_job_that_no_type_holds_asks_for_nothing() -> None:
    assert nodes_to_add([(Need(1, 16, 1.0), 1), (Need(1, 0, 1.0), 1)], [], TYPES) == {"cpu": 1}


def test_the_nodes_of_a_job_are_several() -> None:
    gang = Need(1, 4, 1.0, nodes=2)
    assert nodes_to_add([(gang, 1)], [], TYPES) == {"gpus": 2}
    assert nodes_to_add([(gang, 2)], [], TYPES) == {"gpus": 2}, "two halves fit on each"
    assert nodes_to_add([(gang, 1)], [FreeShare(96, 4, 512.0)], TYPES) == {"gpus": 1}


def test_thousands_of_jobs_ask_for_a_hundred_nodes_at_once() -> None:
    assert nodes_to_add([(Need(1, 1, 1.0), 5000)], [], TYPES) == {"gpu": 100}


def test_what_was_asked_for_in_words() -> None:
    assert growth_text({}, TYPES) == ""
    types = "1 of type cpu (4 cpus, 0 devices), 2 of type gpu (8 cpus, 1 device)"
    assert growth_text({"gpu": 2, "cpu": 1}, TYPES) == f"asked the cluster's autoscaler for 3 nodes: {types}"
