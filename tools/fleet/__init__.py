"""`make fleet`: config, certificates, flashing and load tests of many devices, from one `fleet.toml`."""
