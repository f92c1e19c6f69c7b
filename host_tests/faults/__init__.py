"""Network faults: a proxy between a device in the VM and a real broker delays, resets and corrupts data."""
