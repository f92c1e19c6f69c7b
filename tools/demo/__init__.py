"""`make demo`: three simulated devices and a broker, shown in the terminal."""
