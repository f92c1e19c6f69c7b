"""`make bench`: benchmark of umqtt5 and other MQTT clients for MicroPython. Method: docs/bench.md."""
