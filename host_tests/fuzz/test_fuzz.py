from host_tests.fuzz import fuzz


def test_mutated_streams_end_in_disconnect_or_go_on() -> None:
    assert fuzz.run(5, seed=0) > 100
