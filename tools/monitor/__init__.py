"""`make monitor`: status, readings, alerts and switches of all devices, in a terminal or on a web page."""
