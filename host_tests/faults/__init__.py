"""What bad networks do, on purpose: a proxy between a device's VM and a real broker."""
