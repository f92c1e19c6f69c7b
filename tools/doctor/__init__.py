"""`make doctor`: what stands between a person and a running device."""
