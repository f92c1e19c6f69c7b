"""The normative statements of MQTT 5.0, and mutants of the library that break them."""
