"""`make fleet`: many devices from one description, flashed onto boards or simulated."""
