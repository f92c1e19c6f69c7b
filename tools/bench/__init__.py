"""`make bench`: umqtt5 beside the clients that PyPI has, in one run. See docs/bench.md."""
