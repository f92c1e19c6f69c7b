"""The MicroPython VM as a process on this computer, and simulated devices that run in it."""
